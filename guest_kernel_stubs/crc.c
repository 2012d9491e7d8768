/* CRCs of 16 and 64 bits (lib/crc-ccitt.c, lib/crc-t10dif.c, lib/crc64.c). */
#include "stubs.h"
#include "crctable.h"

CRC_BASIS_LE(K, 0x8408);
CRC_BASIS_BE(F, u16, 0x1021);
CRC_BASIS_BE(T, u16, 0x8bb7);
CRC_BASIS_BE(E, u64, 0x42f0e1eba9ea3693ull);
CRC_BASIS_LE(N, 0x9a6c9329ac4bc9b5ull);

const u16 crc_ccitt_table[256] = LINEAR_TABLE(K);
const u16 crc_ccitt_false_table[256] = LINEAR_TABLE(F);
static const u16 t10dif_table[256] = LINEAR_TABLE(T);
static const u64 crc64_table[256] = LINEAR_TABLE(E);
static const u64 nvme_table[256] = LINEAR_TABLE(N);

u16 crc_ccitt(u16 crc, const u8 *p, size_t len)
{
	while (len--)
		crc = crc >> 8 ^ crc_ccitt_table[(u8)crc ^ *p++];
	return crc;
}

static u16 crc16_be(u16 crc, const u8 *p, size_t len, const u16 *table)
{
	while (len--)
		crc = crc << 8 ^ table[crc >> 8 ^ *p++];
	return crc;
}

u16 crc_ccitt_false(u16 crc, const u8 *p, size_t len) { return crc16_be(crc, p, len, crc_ccitt_false_table); }
u16 crc_t10dif_generic(u16 crc, const u8 *p, size_t len) { return crc16_be(crc, p, len, t10dif_table); }
u16 crc_t10dif_update(u16 crc, const u8 *p, size_t len) ALIAS(crc_t10dif_generic);
u16 crc_t10dif(const u8 *p, size_t len) { return crc_t10dif_generic(0, p, len); }

u64 crc64_be(u64 crc, const u8 *p, size_t len)
{
	while (len--)
		crc = crc << 8 ^ crc64_table[crc >> 56 ^ *p++];
	return crc;
}

/* Inverts before and after itself. */
u64 crc64_nvme(u64 crc, const u8 *p, size_t len)
{
	for (crc = ~crc; len--;)
		crc = crc >> 8 ^ nvme_table[(u8)crc ^ *p++];
	return ~crc;
}

/* Its names up to 6.14. */
u64 crc64_rocksoft_generic(u64 crc, const u8 *p, size_t len) ALIAS(crc64_nvme);
u64 crc64_rocksoft_update(u64 crc, const u8 *p, size_t len) ALIAS(crc64_nvme);
u64 crc64_rocksoft(const u8 *p, size_t len) { return crc64_nvme(0, p, len); }
