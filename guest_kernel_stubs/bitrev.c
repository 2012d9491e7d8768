/* Bytes with their bits in reverse (lib/bitrev.c). */
#include "stubs.h"
#include "crctable.h"

enum { R1 = 128, R2 = 64, R4 = 32, R8 = 16, R16 = 8, R32 = 4, R64 = 2, R128 = 1 };

const u8 byte_rev_table[256] = LINEAR_TABLE(R);
