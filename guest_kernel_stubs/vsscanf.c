/* Formatted input (lib/vsprintf.c: vsscanf). */
#include "stubs.h"

struct conversion {
	int width; /* -1: none given */
	char size; /* 'H' for hh, 'h', 'l', 'L' for ll, 'z', or 0 */
	uint base;
	bool sign;
};

/* "%*...": both strings go on to the next space. False when such a conversion cannot be skipped. */
static bool skip_conversion(const char **fmt, const char **s)
{
	for (; **fmt && **fmt != '%' && !isspace(**fmt); ++*fmt)
		if (**fmt == '[')
			return false;
	while (**s && !isspace(**s))
		++*s;
	return true;
}

/* Width and size in front of the letter; returns where the letter is, or NULL for a width of 0. */
static const char *parse_prefix(const char *fmt, struct conversion *c)
{
	*c = (struct conversion){ .width = -1, .base = 10 };
	if (isdigit(*fmt)) {
		for (c->width = 0; isdigit(*fmt); fmt++)
			c->width = c->width * 10 + *fmt - '0';
		if (c->width <= 0)
			return NULL;
	}
	if (*fmt == 'h' || *fmt == 'l' || *fmt == 'L' || *fmt == 'z') {
		c->size = *fmt++;
		if (*fmt == c->size && (c->size == 'h' || c->size == 'l'))
			c->size = *fmt++ - 32;
	}
	return fmt;
}

static const char *read_chars(const char *s, char *out, int width)
{
	do
		*out++ = *s++;
	while (--width > 0 && *s);
	return s;
}

static const char *read_word(const char *s, char *out, int width)
{
	if (width == -1)
		width = 0x7fff;
	for (s = skip_spaces(s); *s && !isspace(*s) && width; width--)
		*out++ = *s++;
	*out = '\0';
	return s;
}

/* "[chars]" or "[^chars]", no ranges. Returns NULL when nothing matches or the set is malformed; *fmt is behind it. */
static const char *read_set(const char *s, char *out, int width, const char **fmt)
{
	bool negate = **fmt == '^';
	const char *start = *fmt + negate, *end = strchr(start, ']');
	ulong set[4] = { 0 };

	if (width == -1 || !end || end == start)
		return NULL;
	*fmt = end + 1;
	for (const char *c = start; c < end; c++)
		set[(u8)*c / 64] |= 1ul << ((u8)*c % 64);
	for (int i = 0; negate && i < 4; i++)
		set[i] = ~set[i];
	set[0] &= ~1ul; /* never the end of the string */
	if (!(set[(u8)*s / 64] >> ((u8)*s % 64) & 1))
		return NULL;
	for (; set[(u8)*s / 64] >> ((u8)*s % 64) & 1 && width; width--)
		*out++ = *s++;
	*out = '\0';
	return s;
}

/* Is there a number of that base at s? */
static bool starts_number(const char *s, const struct conversion *c)
{
	char digit = *s;

	if (c->sign && digit == '-') {
		if (c->width == 1)
			return false;
		digit = s[1];
	}
	switch (c->base) {
	case 16:
		return isxdigit(digit);
	case 8:
		return digit >= '0' && digit <= '7';
	}
	return isdigit(digit);
}

/* Sign and prefix count towards the width. */
static const char *read_number(const char *s, const struct conversion *c, u64 *value)
{
	bool negative = c->sign && *s == '-', overflow;
	size_t max = c->width == -1 ? INT_MAX : c->width;
	uint base = c->base;
	const char *digits;

	s += negative;
	max -= negative;
	digits = integer_base(s, &base);
	if ((size_t)(digits - s) < max) {
		s = integer_digits(digits, max - (digits - s), base, value, &overflow);
	} else { /* nothing but (part of) the prefix fits */
		*value = 0;
		s += max;
	}
	if (negative)
		*value = -*value;
	return s;
}

static void store(void *out, char size, u64 value)
{
	switch (size) {
	case 'H':
		*(u8 *)out = value;
		break;
	case 'h':
		*(u16 *)out = value;
		break;
	case 'l': case 'L': case 'z':
		*(u64 *)out = value;
		break;
	default:
		*(u32 *)out = value;
	}
}

/* Letter of a number to base and sign; false for letters of anything else. */
static bool number_letter(char letter, struct conversion *c)
{
	switch (letter) {
	case 'o':
		c->base = 8;
		return true;
	case 'x': case 'X':
		c->base = 16;
		return true;
	case 'i':
		c->base = 0;
		c->sign = true;
		return true;
	case 'd':
		c->sign = true;
		return true;
	}
	return letter == 'u';
}

/* Returns how many conversions were stored. */
int vsscanf(const char *text, const char *fmt, __builtin_va_list args)
{
	const char *s = text;
	int count = 0;

	while (*fmt) {
		struct conversion c;
		char letter;
		u64 value;

		if (isspace(*fmt)) {
			fmt = skip_spaces(fmt);
			s = skip_spaces(s);
		}
		if (*fmt != '%') {
			if (!*fmt || *fmt++ != *s++)
				break;
			continue;
		}
		if (*++fmt == '*') {
			if (!*s || !skip_conversion(&fmt, &s))
				break;
			continue;
		}
		fmt = parse_prefix(fmt, &c);
		if (!fmt || !*fmt)
			break;
		letter = *fmt++;
		if (letter == 'n') { /* also at the end of the text, and not counted */
			*__builtin_va_arg(args, int *) = s - text;
			continue;
		}
		if (!*s)
			break;
		if (letter == '%') {
			if (*s++ != '%')
				break;
			continue;
		}
		if (letter == 'c') {
			s = read_chars(s, __builtin_va_arg(args, char *), c.width);
		} else if (letter == 's') {
			s = read_word(s, __builtin_va_arg(args, char *), c.width);
		} else if (letter == '[') {
			s = read_set(s, __builtin_va_arg(args, char *), c.width, &fmt);
			if (!s)
				break;
		} else {
			if (!number_letter(letter, &c))
				break;
			s = skip_spaces(s);
			if (!starts_number(s, &c))
				break;
			s = read_number(s, &c, &value);
			store(__builtin_va_arg(args, void *), c.size, value);
		}
		count++;
	}
	return count;
}

int sscanf(const char *text, const char *fmt, ...)
{
	__builtin_va_list args;
	int count;

	__builtin_va_start(args, fmt);
	count = vsscanf(text, fmt, args);
	__builtin_va_end(args);
	return count;
}
