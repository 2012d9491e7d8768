/* Memory blocks (arch/x86/lib/mem*_64.S, lib/string.c). Eight bytes a step, which is what runs fast when emulated. */
#include "stubs.h"

#define WORD sizeof(u64)
#define STEP (4 * WORD)

static void copy_forward(u8 *dest, const u8 *src, size_t count)
{
	for (; count >= STEP; count -= STEP, dest += STEP, src += STEP) {
		u64 a = load64(src), b = load64(src + 8), c = load64(src + 16), d = load64(src + 24);

		*(u64 *)dest = a;
		*(u64 *)(dest + 8) = b;
		*(u64 *)(dest + 16) = c;
		*(u64 *)(dest + 24) = d;
	}
	for (; count >= WORD; count -= WORD, dest += WORD, src += WORD)
		*(u64 *)dest = load64(src);
	while (count--)
		*dest++ = *src++;
}

static void copy_backward(u8 *dest, const u8 *src, size_t count)
{
	while (count >= STEP) {
		u64 a, b, c, d;

		count -= STEP;
		a = load64(src + count), b = load64(src + count + 8);
		c = load64(src + count + 16), d = load64(src + count + 24);
		*(u64 *)(dest + count + 24) = d;
		*(u64 *)(dest + count + 16) = c;
		*(u64 *)(dest + count + 8) = b;
		*(u64 *)(dest + count) = a;
	}
	while (count >= WORD) {
		count -= WORD;
		*(u64 *)(dest + count) = load64(src + count);
	}
	while (count--)
		dest[count] = src[count];
}

void *memcpy(void *dest, const void *src, size_t count)
{
	copy_forward(dest, src, count);
	return dest;
}

void *memmove(void *dest, const void *src, size_t count)
{
	/* Unsigned: false only when dest lies inside the source. */
	if ((ulong)dest - (ulong)src >= count)
		copy_forward(dest, src, count);
	else
		copy_backward(dest, src, count);
	return dest;
}

void *memset(void *dest, int c, size_t count)
{
	u64 pattern = (u8)c * 0x0101010101010101ull;
	u8 *p = dest;

	for (; count >= STEP; count -= STEP, p += STEP) {
		*(u64 *)p = pattern;
		*(u64 *)(p + 8) = pattern;
		*(u64 *)(p + 16) = pattern;
		*(u64 *)(p + 24) = pattern;
	}
	for (; count >= WORD; count -= WORD, p += WORD)
		*(u64 *)p = pattern;
	while (count--)
		*p++ = pattern;
	return dest;
}

void *__memcpy(void *dest, const void *src, size_t count) ALIAS(memcpy);
void *__memmove(void *dest, const void *src, size_t count) ALIAS(memmove);
void *__memset(void *dest, int c, size_t count) ALIAS(memset);

/* The result is the difference of the first two bytes that differ, as the generic kernel function gives it. */
int memcmp(const void *a, const void *b, size_t count)
{
	const u8 *p = a, *q = b;

	for (; count >= WORD && load64(p) == load64(q); count -= WORD)
		p += WORD, q += WORD;
	for (; count; count--, p++, q++)
		if (*p != *q)
			return *p - *q;
	return 0;
}

int bcmp(const void *a, const void *b, size_t count)
{
	return memcmp(a, b, count);
}

void *memchr(const void *s, int c, size_t count)
{
	const u8 *p = s;

	for (; count; count--, p++)
		if (*p == (u8)c)
			return (void *)p;
	return NULL;
}

void *memscan(void *s, int c, size_t count)
{
	u8 *p = s, *end = p + count;

	while (p != end && *p != (u8)c)
		p++;
	return p;
}

void *memchr_inv(const void *s, int c, size_t count)
{
	const u64 pattern = (u8)c * 0x0101010101010101ull;
	const u8 *p = s;

	for (; count >= WORD && load64(p) == pattern; count -= WORD)
		p += WORD;
	for (; count; count--, p++)
		if (*p != (u8)c)
			return (void *)p;
	return NULL;
}

size_t memweight(const void *s, size_t count)
{
	const u8 *p = s;
	size_t weight = 0;

	for (; count >= WORD; count -= WORD, p += WORD)
		weight += hweight64(load64(p));
	while (count--)
		weight += hweight64(*p++);
	return weight;
}

void memcpy_and_pad(void *dest, size_t dest_len, const void *src, size_t count, int pad)
{
	if (dest_len > count) {
		memcpy(dest, src, count);
		memset((u8 *)dest + count, pad, dest_len - count);
	} else {
		memcpy(dest, src, dest_len);
	}
}

/* crypto/memneq.c: touches every byte whatever it finds, so that the time taken tells nothing. */
ulong __crypto_memneq(const void *a, const void *b, size_t count)
{
	const u8 *p = a, *q = b;
	ulong difference = 0;

	while (count--)
		difference |= *p++ ^ *q++;
	return difference;
}

/* crypto/algapi.c */
void __crypto_xor(u8 *dest, const u8 *a, const u8 *b, uint count)
{
	for (; count >= WORD; count -= WORD, dest += WORD, a += WORD, b += WORD)
		*(u64 *)dest = load64(a) ^ load64(b);
	while (count--)
		*dest++ = *a++ ^ *b++;
}
