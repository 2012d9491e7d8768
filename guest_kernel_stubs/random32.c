/* The seeded generator that simulations use, a combined Tausworthe generator (lib/random32.c). */
#include "stubs.h"

struct rnd_state { u32 s1, s2, s3, s4; };

static u32 tausworthe(u32 s, int a, int b, u32 mask, int d)
{
	return (s & mask) << d ^ ((s << a ^ s) >> b);
}

u32 prandom_u32_state(struct rnd_state *state)
{
	state->s1 = tausworthe(state->s1, 6, 13, -2u, 18);
	state->s2 = tausworthe(state->s2, 2, 27, -8u, 2);
	state->s3 = tausworthe(state->s3, 13, 21, -16u, 7);
	state->s4 = tausworthe(state->s4, 3, 12, -128u, 13);
	return state->s1 ^ state->s2 ^ state->s3 ^ state->s4;
}

void prandom_bytes_state(struct rnd_state *state, void *buf, size_t count)
{
	u8 *p = buf;

	while (count) {
		u32 word = prandom_u32_state(state);

		for (int i = 0; i < 4 && count; i++, count--, word >>= 8)
			*p++ = word;
	}
}
