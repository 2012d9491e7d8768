/* The Internet checksum (arch/x86/lib/csum-partial_64.c, lib/checksum.c). */
#include "stubs.h"

static u32 add32(u32 a, u32 b)
{
	u32 sum = a + b;

	return sum + (sum < a);
}

static u16 fold(u32 sum)
{
	sum = (sum & 0xffff) + (sum >> 16);
	sum += sum >> 16;
	return ~sum;
}

/* Sum of 16-bit words, carries wrapped around, not yet folded to 16 bits. */
u32 csum_partial(const void *buffer, int len, u32 sum)
{
	const u8 *p = buffer;
	u64 total = sum;

	for (; len >= 4; len -= 4, p += 4)
		total += load32(p);
	if (len & 2) {
		total += load16(p);
		p += 2;
	}
	if (len & 1)
		total += *p;
	return add32(total, total >> 32);
}

u32 csum_partial_copy_nocheck(const void *src, void *dest, int len)
{
	memcpy(dest, src, len);
	return csum_partial(dest, len, 0);
}

u16 ip_compute_csum(const void *buffer, int len)
{
	return fold(csum_partial(buffer, len, 0));
}

u16 csum_ipv6_magic(const void *source, const void *target, u32 len, u8 protocol, u32 sum)
{
	sum = csum_partial(source, 16, sum);
	sum = csum_partial(target, 16, sum);
	sum = add32(sum, __builtin_bswap32(len));
	return fold(add32(sum, __builtin_bswap32(protocol)));
}
