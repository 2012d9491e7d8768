/* Strict text to integer (lib/kstrtox.c): the whole string must be the number, but for one newline. */
#include "imports.h"

/* Base 0 is told by the prefix; returns where the digits start. */
INTERNAL const char *integer_base(const char *s, uint *base)
{
	bool hex_prefix = s[0] == '0' && (s[1] | 0x20) == 'x';

	if (!*base) {
		if (s[0] != '0')
			*base = 10;
		else if (hex_prefix && isxdigit(s[2]))
			*base = 16;
		else
			*base = 8;
	}
	return *base == 16 && hex_prefix ? s + 2 : s;
}

static uint digit_value(char c)
{
	char lower = c | 0x20;

	if (isdigit(c))
		return c - '0';
	if (lower >= 'a' && lower <= 'f')
		return lower - 'a' + 10;
	return ~0u;
}

/* Reads up to max digits, wrapping on overflow; returns where they end. */
INTERNAL const char *integer_digits(const char *s, size_t max, uint base, u64 *value, bool *overflow)
{
	uint digit;

	*value = 0;
	*overflow = false;
	for (; max && (digit = digit_value(*s)) < base; s++, max--) {
		u64 scaled, sum;

		if (__builtin_mul_overflow(*value, (u64)base, &scaled) | __builtin_add_overflow(scaled, (u64)digit, &sum))
			*overflow = true;
		*value = *value * base + digit;
	}
	return s;
}

static int parse_unsigned(const char *s, uint base, u64 *result)
{
	const char *digits = integer_base(s, &base), *end;
	bool overflow;
	u64 value;

	end = integer_digits(digits, ULONG_MAX, base, &value, &overflow);
	if (overflow) /* told before what follows the digits is looked at */
		return -ERANGE;
	if (end == digits)
		return -EINVAL;
	if (*end == '\n')
		end++;
	if (*end)
		return -EINVAL;
	*result = value;
	return 0;
}

int kstrtoull(const char *s, uint base, u64 *result)
{
	return parse_unsigned(*s == '+' ? s + 1 : s, base, result);
}

int kstrtoll(const char *s, uint base, s64 *result)
{
	bool negative = *s == '-';
	u64 value;
	int err = negative ? parse_unsigned(s + 1, base, &value) : kstrtoull(s, base, &value);

	if (err)
		return err;
	if (value > (u64)S64_MAX + negative)
		return -ERANGE;
	*result = negative ? -value : value;
	return 0;
}

int _kstrtoul(const char *s, uint base, ulong *result)
{
	return kstrtoull(s, base, (u64 *)result);
}

int _kstrtol(const char *s, uint base, long *result)
{
	return kstrtoll(s, base, (s64 *)result);
}

/* The narrow ones: through the widest type of the same sign, then the range. */
#define NARROW(name, type, wide_name, wide)                      \
	int name(const char *s, uint base, type *result)         \
	{                                                        \
		wide value;                                      \
		int err = wide_name(s, base, &value);            \
                                                                 \
		if (err)                                         \
			return err;                              \
		if (value != (wide)(type)value)                  \
			return -ERANGE;                          \
		*result = value;                                 \
		return 0;                                        \
	}

NARROW(kstrtouint, uint, kstrtoull, u64)
NARROW(kstrtoint, int, kstrtoll, s64)
NARROW(kstrtou16, u16, kstrtoull, u64)
NARROW(kstrtos16, s16, kstrtoll, s64)
NARROW(kstrtou8, u8, kstrtoull, u64)
NARROW(kstrtos8, s8, kstrtoll, s64)

/* Older kernels do not take "true" and "false" for such values. */
INTERNAL int kstrtobool_knows_true = 1;

/* Looks at the first character only (the second after an 'o'): "yellow" is true. */
int kstrtobool(const char *s, bool *result)
{
	if (!s)
		return -EINVAL;
	if (!kstrtobool_knows_true && (*s == 't' || *s == 'T' || *s == 'f' || *s == 'F'))
		return -EINVAL;
	switch (*s == 'o' || *s == 'O' ? s[1] | 0x100 : *s) {
	case 'y': case 'Y': case 't': case 'T': case '1':
	case 'n' | 0x100: case 'N' | 0x100:
		*result = true;
		return 0;
	case 'n': case 'N': case 'f': case 'F': case '0':
	case 'f' | 0x100: case 'F' | 0x100:
		*result = false;
		return 0;
	}
	return -EINVAL;
}

/* The same from user memory: sign, octal digits of the type, newline, NUL is the most that can be valid. */
#define FROM_USER(name, type)                                                         \
	int name##_from_user(const char *s, size_t count, uint base, type *result)    \
	{                                                                             \
		char text[1 + sizeof(type) * 8 + 1 + 1];                              \
                                                                                      \
		count = minimum(count, sizeof(text) - 1);                             \
		if (import__copy_from_user(text, s, count))                           \
			return -EFAULT;                                               \
		text[count] = '\0';                                                   \
		return name(text, base, result);                                      \
	}

FROM_USER(kstrtoull, u64)
FROM_USER(kstrtoll, s64)
FROM_USER(kstrtouint, uint)
FROM_USER(kstrtoint, int)
FROM_USER(kstrtou16, u16)
FROM_USER(kstrtos16, s16)
FROM_USER(kstrtou8, u8)
FROM_USER(kstrtos8, s8)

int kstrtoul_from_user(const char *s, size_t count, uint base, ulong *result)
{
	return kstrtoull_from_user(s, count, base, (u64 *)result);
}

int kstrtol_from_user(const char *s, size_t count, uint base, long *result)
{
	return kstrtoll_from_user(s, count, base, (s64 *)result);
}

int kstrtobool_from_user(const char *s, size_t count, bool *result)
{
	char text[4];

	count = minimum(count, sizeof(text) - 1);
	if (import__copy_from_user(text, s, count))
		return -EFAULT;
	text[count] = '\0';
	return kstrtobool(text, result);
}
