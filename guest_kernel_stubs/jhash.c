/* Bob Jenkins' lookup3, public domain, as Linux has it (include/linux/jhash.h): what hash tables hash by. */
#include "stubs.h"

enum { JHASH_INITVAL = 0xdeadbeef };

struct jhash { uint a, b, c; };

static inline void mix(struct jhash *h)
{
	h->a -= h->c, h->a ^= rol32(h->c, 4), h->c += h->b;
	h->b -= h->a, h->b ^= rol32(h->a, 6), h->a += h->c;
	h->c -= h->b, h->c ^= rol32(h->b, 8), h->b += h->a;
	h->a -= h->c, h->a ^= rol32(h->c, 16), h->c += h->b;
	h->b -= h->a, h->b ^= rol32(h->a, 19), h->a += h->c;
	h->c -= h->b, h->c ^= rol32(h->b, 4), h->b += h->a;
}

static inline uint last(struct jhash *h)
{
	h->c ^= h->b, h->c -= rol32(h->b, 14);
	h->a ^= h->c, h->a -= rol32(h->c, 11);
	h->b ^= h->a, h->b -= rol32(h->a, 25);
	h->c ^= h->b, h->c -= rol32(h->b, 16);
	h->a ^= h->c, h->a -= rol32(h->c, 4);
	h->b ^= h->a, h->b -= rol32(h->a, 14);
	h->c ^= h->b, h->c -= rol32(h->b, 24);
	return h->c;
}

static inline uint word(const u8 *data, uint bytes)
{
	uint value = 0;

	while (bytes--)
		value = value << 8 | data[bytes];
	return value;
}

uint jhash(const void *key, uint length, uint initval)
{
	uint begin = JHASH_INITVAL + length + initval;
	struct jhash h = { begin, begin, begin };
	const u8 *k = key;

	for (; length > 12; length -= 12, k += 12) {
		h.a += word(k, 4), h.b += word(k + 4, 4), h.c += word(k + 8, 4);
		mix(&h);
	}
	if (!length)
		return h.c;
	h.a += word(k, length < 4 ? length : 4);
	if (length > 4)
		h.b += word(k + 4, length < 8 ? length - 4 : 4);
	if (length > 8)
		h.c += word(k + 8, length - 8);
	return last(&h);
}

/* The length is in words. */
uint rhashtable_jhash2(const uint *k, uint length, uint initval)
{
	uint begin = JHASH_INITVAL + (length << 2) + initval;
	struct jhash h = { begin, begin, begin };

	for (; length > 3; length -= 3, k += 3) {
		h.a += k[0], h.b += k[1], h.c += k[2];
		mix(&h);
	}
	if (!length)
		return h.c;
	h.a += k[0];
	if (length > 1)
		h.b += k[1];
	if (length > 2)
		h.c += k[2];
	return last(&h);
}
