/* CRC-32 (lib/crc32.c). The caller inverts before and after, if it wants that. */
#include "stubs.h"
#include "crctable.h"

CRC_BASIS_LE(L, 0xedb88320u);
CRC_BASIS_LE(C, 0x82f63b78u);
CRC_BASIS_BE(B, u32, 0x04c11db7u);

static const u32 table_le[256] = LINEAR_TABLE(L);
static const u32 table_c[256] = LINEAR_TABLE(C);
static const u32 table_be[256] = LINEAR_TABLE(B);

static u32 reflected(u32 crc, const u8 *p, size_t len, const u32 *table)
{
	while (len--)
		crc = crc >> 8 ^ table[(u8)crc ^ *p++];
	return crc;
}

/* As if len zero bytes followed. */
static u32 shifted(u32 crc, size_t len, const u32 *table)
{
	while (len--)
		crc = crc >> 8 ^ table[(u8)crc];
	return crc;
}

u32 crc32_le(u32 crc, const u8 *p, size_t len) { return reflected(crc, p, len, table_le); }
u32 __crc32c_le(u32 crc, const u8 *p, size_t len) { return reflected(crc, p, len, table_c); }
u32 crc32_le_shift(u32 crc, size_t len) { return shifted(crc, len, table_le); }
u32 __crc32c_le_shift(u32 crc, size_t len) { return shifted(crc, len, table_c); }

/* Its name since 6.15. */
u32 crc32c(u32 crc, const u8 *p, size_t len) ALIAS(__crc32c_le);

u32 crc32_be(u32 crc, const u8 *p, size_t len)
{
	while (len--)
		crc = crc << 8 ^ table_be[crc >> 24 ^ *p++];
	return crc;
}
