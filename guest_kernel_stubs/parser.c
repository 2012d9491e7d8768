/* Mount options and the like (lib/parser.c). */
#include "stubs.h"

enum { MAX_ARGUMENTS = 3, NUMBER_BUFFER = 24 };

typedef struct { char *from, *to; } substring_t;
struct match_token { int token; const char *pattern; };

size_t match_strlcpy(char *dest, const substring_t *src, size_t size)
{
	size_t len = src->to - src->from;

	if (size) {
		size_t n = minimum(len, size - 1);

		memcpy(dest, src->from, n);
		dest[n] = '\0';
	}
	return len;
}

/* End of the argument that a conversion letter accepts, or NULL. *len is the width given, -1 for none. */
static char *argument_end(char letter, char *s, int len)
{
	char *end = s;

	switch (letter) {
	case 's': {
		size_t all = strlen(s);

		if (!all) /* never empty */
			return NULL;
		return s + (len == -1 || (size_t)len > all ? all : (size_t)len);
	}
	case 'd':
		simple_strtol(s, &end, 0);
		break;
	case 'u':
		simple_strtoul(s, &end, 0);
		break;
	case 'o':
		simple_strtoul(s, &end, 8);
		break;
	case 'x':
		simple_strtoul(s, &end, 16);
		break;
	}
	return end == s ? NULL : end;
}

static bool match_one(char *s, const char *pattern, substring_t args[])
{
	int argc = 0;

	if (!pattern)
		return true;
	for (;;) {
		const char *percent = strchr(pattern, '%');
		int len = -1;

		if (!percent)
			return !strcmp(pattern, s);
		if (strncmp(pattern, s, percent - pattern))
			return false;
		s += percent - pattern;
		pattern = percent + 1;
		if (isdigit(*pattern))
			len = simple_strtoul(pattern, (char **)&pattern, 10);
		else if (*pattern == '%') {
			if (*s++ != '%')
				return false;
			pattern++;
			continue;
		}
		if (argc >= MAX_ARGUMENTS)
			return false;
		args[argc].from = s;
		s = argument_end(*pattern++, s, len);
		if (!s)
			return false;
		args[argc++].to = s;
	}
}

int match_token(char *s, const struct match_token *table, substring_t args[])
{
	while (!match_one(s, table->pattern, args))
		table++;
	return table->token;
}

static int match_number(const substring_t *s, int *result, uint base)
{
	char text[NUMBER_BUFFER], *end;
	long value;

	if (match_strlcpy(text, s, sizeof(text)) >= sizeof(text))
		return -ERANGE;
	value = simple_strtol(text, &end, base);
	if (end == text)
		return -EINVAL;
	if (value != (int)value)
		return -ERANGE;
	*result = value;
	return 0;
}

int match_int(substring_t *s, int *result) { return match_number(s, result, 0); }
int match_octal(substring_t *s, int *result) { return match_number(s, result, 8); }
int match_hex(substring_t *s, int *result) { return match_number(s, result, 16); }

int match_uint(substring_t *s, uint *result)
{
	char text[NUMBER_BUFFER];

	if (match_strlcpy(text, s, sizeof(text)) >= sizeof(text))
		return -ERANGE;
	return kstrtouint(text, 10, result);
}

int match_u64(substring_t *s, u64 *result)
{
	char text[NUMBER_BUFFER];

	if (match_strlcpy(text, s, sizeof(text)) >= sizeof(text))
		return -ERANGE;
	return kstrtoull(text, 0, result);
}

/* '*' any text, '?' any one character; on a mismatch the last star swallows one more. */
bool match_wildcard(const char *pattern, const char *s)
{
	const char *star = NULL, *resume = s;

	while (*s) {
		if (*pattern == '*') {
			star = ++pattern;
			resume = s;
			if (!*star)
				return true;
		} else if (*pattern == '?' || *pattern == *s) {
			pattern++;
			s++;
		} else if (star) {
			pattern = star;
			s = ++resume;
		} else {
			return false;
		}
	}
	if (*pattern == '*') /* one only: "a**" does not match "a" */
		pattern++;
	return !*pattern;
}
