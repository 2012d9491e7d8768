/* SHA-224 and SHA-256 as library functions (lib/crypto/sha256.c). */
#include "stubs.h"

struct sha256_state {
	u32 state[8];
	u64 count; /* bytes */
	u8 buf[64];
};

static const u32 constants[64] = {
	0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
	0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
	0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
	0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
	0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
	0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
	0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
	0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};
static const u32 start256[8] = {
	0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19,
};
static const u32 start224[8] = {
	0xc1059ed8, 0x367cd507, 0x3070dd17, 0xf70e5939, 0xffc00b31, 0x68581511, 0x64f98fa7, 0xbefa4fa4,
};

static void transform(u32 state[8], const u8 *block)
{
	u32 w[64], s[8];

	for (int i = 0; i < 16; i++)
		w[i] = load_be32(block + 4 * i);
	for (int i = 16; i < 64; i++) {
		u32 a = w[i - 15], b = w[i - 2];

		w[i] = w[i - 16] + (ror32(a, 7) ^ ror32(a, 18) ^ a >> 3) + w[i - 7] +
		       (ror32(b, 17) ^ ror32(b, 19) ^ b >> 10);
	}
	memcpy(s, state, sizeof(s));
	for (int i = 0; i < 64; i++) {
		u32 e = s[4], a = s[0];
		u32 t1 = s[7] + (ror32(e, 6) ^ ror32(e, 11) ^ ror32(e, 25)) + (s[6] ^ (e & (s[5] ^ s[6]))) +
			 constants[i] + w[i];
		u32 t2 = (ror32(a, 2) ^ ror32(a, 13) ^ ror32(a, 22)) + ((a & s[1]) | (s[2] & (a | s[1])));

		memmove(s + 1, s, 7 * sizeof(*s));
		s[4] += t1;
		s[0] = t1 + t2;
	}
	for (int i = 0; i < 8; i++)
		state[i] += s[i];
}

static void start(struct sha256_state *ctx, const u32 state[8])
{
	memcpy(ctx->state, state, sizeof(ctx->state));
	ctx->count = 0;
}

void sha256_init(struct sha256_state *ctx) { start(ctx, start256); }
void sha224_init(struct sha256_state *ctx) { start(ctx, start224); }

void sha256_update(struct sha256_state *ctx, const u8 *data, size_t len)
{
	while (len) {
		size_t held = ctx->count % 64, n = minimum(64 - held, len);

		memcpy(ctx->buf + held, data, n);
		ctx->count += n;
		data += n;
		len -= n;
		if (held + n == 64)
			transform(ctx->state, ctx->buf);
	}
}

void sha224_update(struct sha256_state *ctx, const u8 *data, size_t len) ALIAS(sha256_update);

static void finish(struct sha256_state *ctx, u8 *out, int words)
{
	static const u8 padding[64] = { 0x80 };
	u8 bits[8];

	store_be64(bits, ctx->count * 8);
	sha256_update(ctx, padding, 1 + (119 - ctx->count % 64) % 64);
	sha256_update(ctx, bits, sizeof(bits));
	for (int i = 0; i < words; i++)
		store_be32(out + 4 * i, ctx->state[i]);
	memset(ctx, 0, sizeof(*ctx));
}

void sha256_final(struct sha256_state *ctx, u8 *out) { finish(ctx, out, 8); }
void sha224_final(struct sha256_state *ctx, u8 *out) { finish(ctx, out, 7); }

void sha256(const u8 *data, size_t len, u8 *out)
{
	struct sha256_state ctx;

	sha256_init(&ctx);
	sha256_update(&ctx, data, len);
	sha256_final(&ctx, out);
}

void sha224(const u8 *data, size_t len, u8 *out)
{
	struct sha256_state ctx;

	sha224_init(&ctx);
	sha224_update(&ctx, data, len);
	sha224_final(&ctx, out);
}
