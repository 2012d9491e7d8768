/*
 * Tables of 256 entries which are linear over xor: entry i is the xor of the entries of i's one bits. So a table is
 * given by eight constants, in an enum named PREFIX1, PREFIX2, PREFIX4 .. PREFIX128.
 */
#ifndef CRCTABLE_H
#define CRCTABLE_H

#define LINEAR_BIT(prefix, i, bit) ((i) & (bit) ? prefix##bit : 0)
#define LINEAR1(prefix, i)                                                                           \
	(LINEAR_BIT(prefix, i, 1) ^ LINEAR_BIT(prefix, i, 2) ^ LINEAR_BIT(prefix, i, 4) ^            \
	 LINEAR_BIT(prefix, i, 8) ^ LINEAR_BIT(prefix, i, 16) ^ LINEAR_BIT(prefix, i, 32) ^          \
	 LINEAR_BIT(prefix, i, 64) ^ LINEAR_BIT(prefix, i, 128))
#define LINEAR4(prefix, i) \
	LINEAR1(prefix, i), LINEAR1(prefix, i + 1), LINEAR1(prefix, i + 2), LINEAR1(prefix, i + 3)
#define LINEAR16(prefix, i) \
	LINEAR4(prefix, i), LINEAR4(prefix, i + 4), LINEAR4(prefix, i + 8), LINEAR4(prefix, i + 12)
#define LINEAR64(prefix, i) \
	LINEAR16(prefix, i), LINEAR16(prefix, i + 16), LINEAR16(prefix, i + 32), LINEAR16(prefix, i + 48)
#define LINEAR_TABLE(prefix) \
	{ LINEAR64(prefix, 0), LINEAR64(prefix, 64), LINEAR64(prefix, 128), LINEAR64(prefix, 192) }

/* Least significant bit first. */
#define CRC_STEP_LE(crc, poly) ((crc) >> 1 ^ ((crc) & 1 ? (poly) : 0))
#define CRC_BASIS_LE(prefix, poly)                                                                    \
	enum {                                                                                        \
		prefix##128 = (poly),                                                                 \
		prefix##64 = CRC_STEP_LE(prefix##128, poly), prefix##32 = CRC_STEP_LE(prefix##64, poly), \
		prefix##16 = CRC_STEP_LE(prefix##32, poly), prefix##8 = CRC_STEP_LE(prefix##16, poly),   \
		prefix##4 = CRC_STEP_LE(prefix##8, poly), prefix##2 = CRC_STEP_LE(prefix##4, poly),      \
		prefix##1 = CRC_STEP_LE(prefix##2, poly),                                             \
	}

/* Most significant bit first, for registers of a given type. */
#define CRC_STEP_BE(type, crc, poly) \
	((type)((type)(crc) << 1) ^ ((type)(crc) >> (8 * sizeof(type) - 1) & 1 ? (poly) : (type)0))
#define CRC_BASIS_BE(prefix, type, poly)                          \
	enum {                                                    \
		prefix##1 = (poly),                               \
		prefix##2 = CRC_STEP_BE(type, prefix##1, poly),   \
		prefix##4 = CRC_STEP_BE(type, prefix##2, poly),   \
		prefix##8 = CRC_STEP_BE(type, prefix##4, poly),   \
		prefix##16 = CRC_STEP_BE(type, prefix##8, poly),  \
		prefix##32 = CRC_STEP_BE(type, prefix##16, poly), \
		prefix##64 = CRC_STEP_BE(type, prefix##32, poly), \
		prefix##128 = CRC_STEP_BE(type, prefix##64, poly), \
	}

#endif
