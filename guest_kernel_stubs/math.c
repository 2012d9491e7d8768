/* Integer mathematics (lib/math/). */
#include "stubs.h"

ulong gcd(ulong a, ulong b)
{
	while (b) {
		ulong rest = a % b;

		a = b;
		b = rest;
	}
	return a;
}

ulong lcm(ulong a, ulong b)
{
	return a && b ? a / gcd(a, b) * b : 0;
}

ulong lcm_not_zero(ulong a, ulong b)
{
	ulong multiple = lcm(a, b);

	if (multiple)
		return multiple;
	return b ? b : a;
}

/* The largest number whose square is not above x, bit by bit. */
ulong int_sqrt(ulong x)
{
	ulong root = 0, bit = 1ul << 62;

	while (bit > x)
		bit >>= 2;
	for (; bit; bit >>= 2) {
		ulong trial = root + bit;

		root >>= 1;
		if (x >= trial) {
			x -= trial;
			root += bit;
		}
	}
	return root;
}

u64 int_pow(u64 base, uint exponent)
{
	u64 result = 1;

	for (; exponent; exponent >>= 1, base *= base)
		if (exponent & 1)
			result *= base;
	return result;
}

u32 iter_div_u64_rem(u64 dividend, u32 divisor, u64 *remainder)
{
	*remainder = dividend % divisor;
	return dividend / divisor;
}

struct reciprocal_value { u32 m; u8 sh1, sh2; };
struct reciprocal_value_adv { u32 m; u8 sh, exp; bool is_wide_m; };

/* Division by d as a multiplication (Granlund and Montgomery, figure 4.1). */
struct reciprocal_value reciprocal_value(u32 d)
{
	uint l = fls64(d - 1);
	struct reciprocal_value r = {
		.m = (1ull << 32) * ((1ull << l) - d) / d + 1,
		.sh1 = minimum(l, 1),
		.sh2 = l ? l - 1 : 0,
	};

	return r;
}

/* For dividends of prec bits (figure 6.2). */
struct reciprocal_value_adv reciprocal_value_adv(u32 d, u8 prec)
{
	uint l = fls64(d - 1), shift = l;
	u64 low = (1ull << (32 + l)) / d;
	u64 high = ((1ull << (32 + l)) + (1ull << (32 + l - prec))) / d;
	struct reciprocal_value_adv r;

	for (; shift && low >> 1 < high >> 1; shift--) {
		low >>= 1;
		high >>= 1;
	}
	r.m = high;
	r.sh = shift;
	r.exp = l;
	r.is_wide_m = high > 0xffffffffu;
	return r;
}

/* What gcc calls for machines without the instructions (lib/clz_ctz.c). */
int __clzsi2(u32 x) { return 32 - fls64(x); }
int __clzdi2(u64 x) { return 64 - fls64(x); }
int __ctzsi2(u32 x) { return __builtin_ctz(x); }
int __ctzdi2(u64 x) { return __builtin_ctzll(x); }

uint _bcd2bin(u8 bcd) { return (bcd & 15) + (bcd >> 4) * 10; }
u8 _bin2bcd(uint n) { return (n / 10 << 4) + n % 10; }
