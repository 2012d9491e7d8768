/* Lenient text to integer (lib/vsprintf.c): reads as far as digits go, wraps, reports nothing. */
#include "stubs.h"

u64 simple_strtoull(const char *s, char **end, uint base)
{
	const char *digits = integer_base(s, &base);
	bool overflow;
	u64 value;

	digits = integer_digits(digits, ULONG_MAX, base, &value, &overflow);
	if (end)
		*end = (char *)digits;
	return value;
}

s64 simple_strtoll(const char *s, char **end, uint base)
{
	return *s == '-' ? -simple_strtoull(s + 1, end, base) : simple_strtoull(s, end, base);
}

ulong simple_strtoul(const char *s, char **end, uint base)
{
	return simple_strtoull(s, end, base);
}

long simple_strtol(const char *s, char **end, uint base)
{
	return simple_strtoll(s, end, base);
}
