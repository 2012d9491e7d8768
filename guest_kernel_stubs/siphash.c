/* SipHash-2-4, and SipHash-1-3 where Linux uses HalfSipHash on 32-bit machines (lib/siphash.c). */
#include "stubs.h"

struct siphash_key { u64 key[2]; };

struct siphash { u64 v0, v1, v2, v3; };

static inline void rounds(struct siphash *s, int n)
{
	while (n--) {
		s->v0 += s->v1, s->v1 = rol64(s->v1, 13) ^ s->v0, s->v0 = rol64(s->v0, 32);
		s->v2 += s->v3, s->v3 = rol64(s->v3, 16) ^ s->v2;
		s->v0 += s->v3, s->v3 = rol64(s->v3, 21) ^ s->v0;
		s->v2 += s->v1, s->v1 = rol64(s->v1, 17) ^ s->v2, s->v2 = rol64(s->v2, 32);
	}
}

static inline void absorb(struct siphash *s, u64 word, int n)
{
	s->v3 ^= word;
	rounds(s, n);
	s->v0 ^= word;
}

static u64 hash(const void *data, size_t len, const struct siphash_key *key, int per_word, int final)
{
	struct siphash s = {
		key->key[0] ^ 0x736f6d6570736575ull, key->key[1] ^ 0x646f72616e646f6dull,
		key->key[0] ^ 0x6c7967656e657261ull, key->key[1] ^ 0x7465646279746573ull,
	};
	const u8 *p = data;
	u64 last = (u64)len << 56;
	size_t left = len;

	for (; left >= 8; left -= 8, p += 8)
		absorb(&s, load64(p), per_word);
	while (left--)
		last |= (u64)p[left] << (8 * left);
	absorb(&s, last, per_word);
	s.v2 ^= 0xff;
	rounds(&s, final);
	return s.v0 ^ s.v1 ^ s.v2 ^ s.v3;
}

u64 __siphash_unaligned(const void *data, size_t len, const struct siphash_key *key)
{
	return hash(data, len, key, 2, 4);
}

u32 __hsiphash_unaligned(const void *data, size_t len, const struct siphash_key *key)
{
	return hash(data, len, key, 1, 3);
}

/* A few integers: the hash of their bytes. */
#define SIPHASH(n, type, ...) hash((const type[n]){ __VA_ARGS__ }, (n) * sizeof(type), key, 2, 4)
#define HSIPHASH(n, ...) hash((const u32[n]){ __VA_ARGS__ }, (n) * sizeof(u32), key, 1, 3)

u64 siphash_1u64(u64 a, const struct siphash_key *key) { return SIPHASH(1, u64, a); }
u64 siphash_2u64(u64 a, u64 b, const struct siphash_key *key) { return SIPHASH(2, u64, a, b); }
u64 siphash_3u64(u64 a, u64 b, u64 c, const struct siphash_key *key) { return SIPHASH(3, u64, a, b, c); }
u64 siphash_1u32(u32 a, const struct siphash_key *key) { return SIPHASH(1, u32, a); }
u64 siphash_3u32(u32 a, u32 b, u32 c, const struct siphash_key *key) { return SIPHASH(3, u32, a, b, c); }
u32 hsiphash_1u32(u32 a, const struct siphash_key *key) { return HSIPHASH(1, a); }
u32 hsiphash_2u32(u32 a, u32 b, const struct siphash_key *key) { return HSIPHASH(2, a, b); }
u32 hsiphash_3u32(u32 a, u32 b, u32 c, const struct siphash_key *key) { return HSIPHASH(3, a, b, c); }

u64 siphash_4u64(u64 a, u64 b, u64 c, u64 d, const struct siphash_key *key)
{
	return SIPHASH(4, u64, a, b, c, d);
}

u32 hsiphash_4u32(u32 a, u32 b, u32 c, u32 d, const struct siphash_key *key)
{
	return HSIPHASH(4, a, b, c, d);
}
