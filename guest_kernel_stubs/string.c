/* Strings (lib/string.c). Plain byte loops: nothing is read beyond what the definition of each function needs. */
#include "stubs.h"

size_t strlen(const char *s)
{
	const char *end = s;

	while (*end)
		end++;
	return end - s;
}

size_t strnlen(const char *s, size_t count)
{
	size_t n = 0;

	while (n < count && s[n])
		n++;
	return n;
}

char *strcpy(char *dest, const char *src)
{
	char *to = dest;

	while ((*to++ = *src++))
		;
	return dest;
}

/* Fills the rest of dest with zeros, and leaves it without a NUL when src does not fit. */
char *strncpy(char *dest, const char *src, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		dest[i] = *src;
		if (*src)
			src++;
	}
	return dest;
}

char *strcat(char *dest, const char *src)
{
	strcpy(dest + strlen(dest), src);
	return dest;
}

char *strncat(char *dest, const char *src, size_t count)
{
	char *to = dest + strlen(dest);

	if (!count)
		return dest;
	while (count-- && *src)
		*to++ = *src++;
	*to = '\0';
	return dest;
}

size_t strlcpy(char *dest, const char *src, size_t size)
{
	size_t len = strlen(src);

	if (size) {
		size_t n = minimum(len, size - 1);

		memcpy(dest, src, n);
		dest[n] = '\0';
	}
	return len;
}

size_t strlcat(char *dest, const char *src, size_t size)
{
	size_t used = strlen(dest), len = strlen(src);
	size_t n;

	if (used >= size) /* dest was no string of that size */
		BUG();
	n = minimum(len, size - used - 1);
	memcpy(dest + used, src, n);
	dest[used + n] = '\0';
	return used + len;
}

int strcmp(const char *a, const char *b)
{
	return strncmp(a, b, ULONG_MAX);
}

/* -1, 0 or 1: callers have come to rely on it. */
int strncmp(const char *a, const char *b, size_t count)
{
	for (; count; count--, a++, b++) {
		if (*a != *b)
			return (u8)*a < (u8)*b ? -1 : 1;
		if (!*a)
			break;
	}
	return 0;
}

int strcasecmp(const char *a, const char *b)
{
	int difference;

	do
		difference = tolower(*a) - tolower(*b++);
	while (!difference && *a++);
	return difference;
}

/* Where either string ends, the other's character counts in the case it was written in. */
int strncasecmp(const char *a, const char *b, size_t count)
{
	for (; count; count--, a++, b++) {
		int difference = tolower(*a) - tolower(*b);

		if (!*a || !*b)
			return (u8)*a - (u8)*b;
		if (difference)
			return difference;
	}
	return 0;
}

char *strchrnul(const char *s, int c)
{
	while (*s && *s != (char)c)
		s++;
	return (char *)s;
}

char *strchr(const char *s, int c)
{
	s = strchrnul(s, c);
	return *s == (char)c ? (char *)s : NULL;
}

char *strrchr(const char *s, int c)
{
	const char *last = NULL;

	do {
		if (*s == (char)c)
			last = s;
	} while (*s++);
	return (char *)last;
}

char *strnchr(const char *s, size_t count, int c)
{
	for (; count; count--, s++) {
		if (*s == (char)c)
			return (char *)s;
		if (!*s)
			break;
	}
	return NULL;
}

size_t strspn(const char *s, const char *accept)
{
	size_t n = 0;

	while (s[n] && strchr(accept, s[n]))
		n++;
	return n;
}

size_t strcspn(const char *s, const char *reject)
{
	size_t n = 0;

	/* strchr finds the NUL of reject too, which ends the loop. */
	while (!strchr(reject, s[n]))
		n++;
	return n;
}

char *strpbrk(const char *s, const char *accept)
{
	s += strcspn(s, accept);
	return *s ? (char *)s : NULL;
}

char *strsep(char **s, const char *delimiters)
{
	char *token = *s, *end;

	if (!token)
		return NULL;
	end = strpbrk(token, delimiters);
	if (end)
		*end++ = '\0';
	*s = end;
	return token;
}

char *strnstr(const char *s, const char *wanted, size_t count)
{
	size_t len = strlen(wanted);

	if (!len)
		return (char *)s;
	for (; count >= len; count--, s++)
		if (!memcmp(s, wanted, len))
			return (char *)s;
	return NULL;
}

char *strstr(const char *s, const char *wanted)
{
	return strnstr(s, wanted, strlen(s));
}
