/* Looking for bits (lib/find_bit.c). Each returns size when there is none. */
#include "stubs.h"

/* word(k): the k-th word of what is searched, made of up to three maps. */
#define FIND_NEXT(name, parameters, word)                                                \
	ulong name parameters                                                            \
	{                                                                                \
		if (start >= size)                                                       \
			return size;                                                     \
		for (ulong k = start / BITS_PER_LONG; k * BITS_PER_LONG < size; k++) {   \
			ulong found = (word);                                            \
                                                                                         \
			if (k == start / BITS_PER_LONG)                                  \
				found &= ~0ul << (start % BITS_PER_LONG);                \
			if (found)                                                       \
				return minimum(k * BITS_PER_LONG + __builtin_ctzl(found), size); \
		}                                                                        \
		return size;                                                             \
	}

FIND_NEXT(_find_next_bit, (const ulong *a, ulong size, ulong start), a[k])
FIND_NEXT(_find_next_zero_bit, (const ulong *a, ulong size, ulong start), ~a[k])
FIND_NEXT(_find_next_and_bit, (const ulong *a, const ulong *b, ulong size, ulong start), a[k] & b[k])
FIND_NEXT(_find_next_andnot_bit, (const ulong *a, const ulong *b, ulong size, ulong start), a[k] & ~b[k])
FIND_NEXT(_find_next_or_bit, (const ulong *a, const ulong *b, ulong size, ulong start), a[k] | b[k])
static FIND_NEXT(next_of_three, (const ulong *a, const ulong *b, const ulong *c, ulong size, ulong start),
		 a[k] & b[k] & c[k])

ulong _find_first_bit(const ulong *a, ulong size) { return _find_next_bit(a, size, 0); }
ulong _find_first_zero_bit(const ulong *a, ulong size) { return _find_next_zero_bit(a, size, 0); }
ulong _find_first_and_bit(const ulong *a, const ulong *b, ulong size) { return _find_next_and_bit(a, b, size, 0); }

ulong _find_first_andnot_bit(const ulong *a, const ulong *b, ulong size)
{
	return _find_next_andnot_bit(a, b, size, 0);
}

ulong _find_first_and_and_bit(const ulong *a, const ulong *b, const ulong *c, ulong size)
{
	return next_of_three(a, b, c, size, 0);
}

ulong _find_last_bit(const ulong *a, ulong size)
{
	ulong mask = ~0ul >> (-size % BITS_PER_LONG);

	for (ulong k = (size + BITS_PER_LONG - 1) / BITS_PER_LONG; k-- > 0; mask = ~0ul)
		if (a[k] & mask)
			return k * BITS_PER_LONG + 63 - __builtin_clzl(a[k] & mask);
	return size;
}

/* The next byte, at a multiple of 8 bits, that is not zero; returns where it starts. */
ulong find_next_clump8(ulong *clump, const ulong *a, ulong size, ulong start)
{
	ulong bit = _find_next_bit(a, size, start);

	if (bit == size)
		return size;
	bit &= ~7ul;
	*clump = a[bit / BITS_PER_LONG] >> (bit % BITS_PER_LONG) & 0xff;
	return bit;
}

/* Their names in 5.10. */
ulong find_first_bit(const ulong *a, ulong size) ALIAS(_find_first_bit);
ulong find_first_zero_bit(const ulong *a, ulong size) ALIAS(_find_first_zero_bit);
ulong find_last_bit(const ulong *a, ulong size) ALIAS(_find_last_bit);
ulong find_next_bit(const ulong *a, ulong size, ulong start) ALIAS(_find_next_bit);
ulong find_next_zero_bit(const ulong *a, ulong size, ulong start) ALIAS(_find_next_zero_bit);
ulong find_next_and_bit(const ulong *a, const ulong *b, ulong size, ulong start) ALIAS(_find_next_and_bit);
