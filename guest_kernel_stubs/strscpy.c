/* strscpy() and its padded form (lib/string.c, lib/string_helpers.c). */
#include "stubs.h"

/*
 * Linux copies a word at a time where it can, and the word that holds the NUL is stored whole: up to seven more
 * bytes of dest become zero, inside count. Modules see that, so it is the same here.
 */
ssize_t sized_strscpy(char *dest, const char *src, size_t count)
{
	size_t by_words = count, done = 0;

	if (!count || count > INT_MAX)
		return -E2BIG;
	if ((ulong)src % 8) /* unaligned words may not reach into the next page */
		by_words = minimum(count, PAGE_SIZE - (ulong)src % PAGE_SIZE);

	for (; by_words - done >= 8; done += 8) {
		u64 word = 0;
		uint n = 0;

		for (; n < 8 && src[done + n]; n++)
			word |= (u64)(u8)src[done + n] << (8 * n);
		*(u64 *)(dest + done) = word;
		if (n < 8)
			return done + n;
	}
	for (; done < count; done++) {
		dest[done] = src[done];
		if (!src[done])
			return done;
	}
	dest[count - 1] = '\0';
	return -E2BIG;
}

ssize_t strscpy(char *dest, const char *src, size_t count) ALIAS(sized_strscpy);

ssize_t strscpy_pad(char *dest, const char *src, size_t count)
{
	ssize_t written = sized_strscpy(dest, src, count);

	if (written >= 0 && (size_t)written + 1 < count)
		memset(dest + written + 1, 0, count - written - 1);
	return written;
}
