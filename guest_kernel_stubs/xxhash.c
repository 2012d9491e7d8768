/* xxHash of 32 and 64 bits (lib/xxhash.c). */
#include "stubs.h"

#define P32_1 2654435761u
#define P32_2 2246822519u
#define P32_3 3266489917u
#define P32_4 668265263u
#define P32_5 374761393u
#define P64_1 11400714785074694791ull
#define P64_2 14029467366897019727ull
#define P64_3 1609587929392839161ull
#define P64_4 9650029242287828579ull
#define P64_5 2870177450012600261ull

struct xxh32_state {
	u32 total_len, large_len, v[4], mem[4], memsize;
};

struct xxh64_state {
	u64 total_len, v[4], mem[4];
	u32 memsize;
};

static u32 round32(u32 lane, u32 input)
{
	return rol32(lane + input * P32_2, 13) * P32_1;
}

static u64 round64(u64 lane, u64 input)
{
	return rol64(lane + input * P64_2, 31) * P64_1;
}

static void stripe32(u32 v[4], const u8 *p)
{
	for (int i = 0; i < 4; i++)
		v[i] = round32(v[i], load32(p + 4 * i));
}

static void stripe64(u64 v[4], const u8 *p)
{
	for (int i = 0; i < 4; i++)
		v[i] = round64(v[i], load64(p + 8 * i));
}

static u32 merge32(const u32 v[4])
{
	return rol32(v[0], 1) + rol32(v[1], 7) + rol32(v[2], 12) + rol32(v[3], 18);
}

static u64 merge64(const u64 v[4])
{
	u64 h = rol64(v[0], 1) + rol64(v[1], 7) + rol64(v[2], 12) + rol64(v[3], 18);

	for (int i = 0; i < 4; i++)
		h = (h ^ round64(0, v[i])) * P64_1 + P64_4;
	return h;
}

static u32 finish32(u32 h, const u8 *p, size_t len)
{
	for (; len >= 4; len -= 4, p += 4)
		h = rol32(h + load32(p) * P32_3, 17) * P32_4;
	for (; len; len--, p++)
		h = rol32(h + *p * P32_5, 11) * P32_1;
	h = (h ^ h >> 15) * P32_2;
	h = (h ^ h >> 13) * P32_3;
	return h ^ h >> 16;
}

static u64 finish64(u64 h, const u8 *p, size_t len)
{
	for (; len >= 8; len -= 8, p += 8)
		h = rol64(h ^ round64(0, load64(p)), 27) * P64_1 + P64_4;
	if (len >= 4) {
		h = rol64(h ^ load32(p) * P64_1, 23) * P64_2 + P64_3;
		len -= 4;
		p += 4;
	}
	for (; len; len--, p++)
		h = rol64(h ^ *p * P64_5, 11) * P64_1;
	h = (h ^ h >> 33) * P64_2;
	h = (h ^ h >> 29) * P64_3;
	return h ^ h >> 32;
}

static void lanes32(u32 v[4], u32 seed)
{
	v[0] = seed + P32_1 + P32_2;
	v[1] = seed + P32_2;
	v[2] = seed;
	v[3] = seed - P32_1;
}

static void lanes64(u64 v[4], u64 seed)
{
	v[0] = seed + P64_1 + P64_2;
	v[1] = seed + P64_2;
	v[2] = seed;
	v[3] = seed - P64_1;
}

u32 xxh32(const void *input, size_t len, u32 seed)
{
	const u8 *p = input;
	size_t left = len;
	u32 v[4], h = seed + P32_5;

	if (len >= 16) {
		lanes32(v, seed);
		for (; left >= 16; left -= 16, p += 16)
			stripe32(v, p);
		h = merge32(v);
	}
	return finish32(h + (u32)len, p, left);
}

u64 xxh64(const void *input, size_t len, u64 seed)
{
	const u8 *p = input;
	size_t left = len;
	u64 v[4], h = seed + P64_5;

	if (len >= 32) {
		lanes64(v, seed);
		for (; left >= 32; left -= 32, p += 32)
			stripe64(v, p);
		h = merge64(v);
	}
	return finish64(h + len, p, left);
}

void xxh32_reset(struct xxh32_state *state, u32 seed)
{
	memset(state, 0, sizeof(*state));
	lanes32(state->v, seed);
}

void xxh64_reset(struct xxh64_state *state, u64 seed)
{
	memset(state, 0, sizeof(*state));
	lanes64(state->v, seed);
}

/* The 32-bit length wraps, so whether there was ever a whole stripe is kept apart from it. */
static void count_32(struct xxh32_state *state, size_t len)
{
	state->total_len += len;
	state->large_len |= len >= 16 || state->total_len >= 16;
}

static void count_64(struct xxh64_state *state, size_t len)
{
	state->total_len += len;
}

/* Collects input in state->mem until it holds a stripe. */
#define UPDATE(bits, stripe_size)                                                                   \
	int xxh##bits##_update(struct xxh##bits##_state *state, const void *input, size_t len)      \
	{                                                                                           \
		const u8 *p = input;                                                                \
                                                                                                    \
		if (!input)                                                                         \
			return -EINVAL;                                                             \
		count_##bits(state, len);                                                           \
		while (state->memsize + len >= stripe_size) {                                       \
			size_t taken = stripe_size - state->memsize;                                \
                                                                                                    \
			memcpy((u8 *)state->mem + state->memsize, p, taken);                        \
			stripe##bits(state->v, (u8 *)state->mem);                                   \
			state->memsize = 0;                                                         \
			p += taken;                                                                 \
			len -= taken;                                                               \
		}                                                                                   \
		memcpy((u8 *)state->mem + state->memsize, p, len);                                  \
		state->memsize += len;                                                              \
		return 0;                                                                           \
	}

UPDATE(32, 16)
UPDATE(64, 32)

u32 xxh32_digest(const struct xxh32_state *state)
{
	u32 h = state->large_len ? merge32(state->v) : state->v[2] + P32_5;

	return finish32(h + state->total_len, (const u8 *)state->mem, state->memsize);
}

u64 xxh64_digest(const struct xxh64_state *state)
{
	u64 h = state->total_len >= 32 ? merge64(state->v) : state->v[2] + P64_5;

	return finish64(h + state->total_len, (const u8 *)state->mem, state->memsize);
}

void xxh32_copy_state(struct xxh32_state *dest, const struct xxh32_state *src) { *dest = *src; }
void xxh64_copy_state(struct xxh64_state *dest, const struct xxh64_state *src) { *dest = *src; }
