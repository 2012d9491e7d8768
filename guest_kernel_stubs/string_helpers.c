/* Spaces, lists of words, escapes (lib/string_helpers.c). */
#include "stubs.h"

char *skip_spaces(const char *s)
{
	while (isspace(*s))
		s++;
	return (char *)s;
}

char *strim(char *s)
{
	size_t len = strlen(s);

	if (!len)
		return s;
	while (len && isspace(s[len - 1]))
		len--;
	s[len] = '\0';
	return skip_spaces(s);
}

/* Returns the end of the string, as Linux did up to 6.4. */
char *strreplace(char *s, char old, char new)
{
	for (; *s; s++)
		if (*s == old)
			*s = new;
	return s;
}

/* Equal, but for one newline at the end of either: what a user types into a sysfs file has one. */
bool sysfs_streq(const char *a, const char *b)
{
	while (*a && *a == *b)
		a++, b++;
	if (*a == *b)
		return true;
	if (!*a && *b == '\n')
		return !b[1];
	return *a == '\n' && !a[1] && !*b;
}

int match_string(const char *const *array, size_t n, const char *string)
{
	for (size_t i = 0; i < n && array[i]; i++)
		if (!strcmp(array[i], string))
			return i;
	return -EINVAL;
}

int __sysfs_match_string(const char *const *array, size_t n, const char *string)
{
	for (size_t i = 0; i < n && array[i]; i++)
		if (sysfs_streq(array[i], string))
			return i;
	return -EINVAL;
}

enum { UNESCAPE_SPACE = 1, UNESCAPE_OCTAL = 2, UNESCAPE_HEX = 4, UNESCAPE_SPECIAL = 8 };

static const char *unescape_letter(const char *s, const char *letters, const char *values, char *out)
{
	const char *found = *s ? strchr(letters, *s) : NULL;

	if (!found)
		return NULL;
	*out = values[found - letters];
	return s + 1;
}

static const char *unescape_octal(const char *s, char *out)
{
	uint value = 0, n = 0;

	for (; n < 3 && s[n] >= '0' && s[n] <= '7' && value * 8 + (s[n] - '0') <= 255; n++)
		value = value * 8 + (s[n] - '0');
	*out = value;
	return n ? s + n : NULL;
}

static const char *unescape_hex(const char *s, char *out)
{
	uint value = 0, n = 1;

	if (*s != 'x')
		return NULL;
	for (; n < 3 && isxdigit(s[n]); n++)
		value = value * 16 + hex_to_bin(s[n]);
	*out = value;
	return n > 1 ? s + n : NULL;
}

static const char *unescape_one(const char *s, uint flags, char *out)
{
	const char *next = NULL;

	if (flags & UNESCAPE_SPACE)
		next = unescape_letter(s, "nrtvf", "\n\r\t\v\f", out);
	if (!next && flags & UNESCAPE_OCTAL)
		next = unescape_octal(s, out);
	if (!next && flags & UNESCAPE_HEX)
		next = unescape_hex(s, out);
	if (!next && flags & UNESCAPE_SPECIAL)
		next = unescape_letter(s, "\"\\ae", "\"\\\a\033", out);
	return next;
}

/* src and dest may be the same. size: room in dest with the NUL, 0 for no limit. Returns characters written. */
int string_unescape(char *src, char *dest, size_t size, uint flags)
{
	char *to = dest;

	for (size--; *src && size; size--) {
		/* An escape counts as two characters of room, whether or not it turns out to be one. */
		if (src[0] == '\\' && src[1] && size > 1) {
			const char *next = unescape_one(src + 1, flags, to);

			size--;
			if (next) {
				src = (char *)next;
				to++;
				continue;
			}
			*to++ = *src++;
		}
		*to++ = *src++;
	}
	*to = '\0';
	return to - dest;
}
