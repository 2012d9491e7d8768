/* ChaCha and HChaCha, one block (lib/crypto/chacha.c). */
#include "stubs.h"

static void quarter(u32 *x, int a, int b, int c, int d)
{
	x[a] += x[b], x[d] = rol32(x[d] ^ x[a], 16);
	x[c] += x[d], x[b] = rol32(x[b] ^ x[c], 12);
	x[a] += x[b], x[d] = rol32(x[d] ^ x[a], 8);
	x[c] += x[d], x[b] = rol32(x[b] ^ x[c], 7);
}

static void permute(u32 *x, int nrounds)
{
	for (int round = 0; round < nrounds; round += 2) {
		for (int i = 0; i < 4; i++)
			quarter(x, i, 4 + i, 8 + i, 12 + i);
		for (int i = 0; i < 4; i++)
			quarter(x, i, 4 + (i + 1) % 4, 8 + (i + 2) % 4, 12 + (i + 3) % 4);
	}
}

/* 64 bytes of stream; counts up the block number in state[12]. */
void chacha_block_generic(u32 *state, u8 *stream, int nrounds)
{
	u32 x[16];

	memcpy(x, state, sizeof(x));
	permute(x, nrounds);
	for (int i = 0; i < 16; i++)
		*(u32 *)(stream + 4 * i) = x[i] + state[i];
	state[12]++;
}

void hchacha_block_generic(const u32 *state, u32 *out, int nrounds)
{
	u32 x[16];

	memcpy(x, state, sizeof(x));
	permute(x, nrounds);
	memcpy(out, x, 16);
	memcpy(out + 4, x + 12, 16);
}
