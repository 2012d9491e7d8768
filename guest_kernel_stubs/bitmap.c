/* Bit arrays (lib/bitmap.c). Bits beyond nbits in the last word are treated exactly as Linux treats them. */
#include "stubs.h"

static uint words_of(uint nbits)
{
	return nbits / BITS_PER_LONG + (nbits % BITS_PER_LONG != 0);
}

/* The valid bits of the last word. */
static ulong last_mask(uint nbits)
{
	return ~0ul >> (-nbits % BITS_PER_LONG);
}

static bool test_bit(const ulong *map, uint bit)
{
	return map[bit / BITS_PER_LONG] >> (bit % BITS_PER_LONG) & 1;
}

/* dst = EXPRESSION in a[k], b[k], whole words. */
#define WHOLE_WORDS(name, expression)                                                    \
	void name(ulong *dst, const ulong *a, const ulong *b, uint nbits)                \
	{                                                                                \
		for (uint k = 0, n = words_of(nbits); k < n; k++)                        \
			dst[k] = (expression);                                           \
	}

/* The same, cleared behind nbits; tells whether any bit is left. */
#define MASKED_WORDS(name, expression)                                                   \
	bool name(ulong *dst, const ulong *a, const ulong *b, uint nbits)                \
	{                                                                                \
		ulong any = 0;                                                           \
		uint k, n = nbits / BITS_PER_LONG;                                       \
                                                                                         \
		for (k = 0; k < n; k++)                                                  \
			any |= dst[k] = (expression);                                    \
		if (nbits % BITS_PER_LONG)                                               \
			any |= dst[k] = (expression) & last_mask(nbits);                 \
		return any;                                                              \
	}

/* Is EXPRESSION zero for all bits below nbits? */
#define NO_BIT(name, expression)                                                         \
	static bool name(const ulong *a, const ulong *b, const ulong *c, uint nbits)     \
	{                                                                                \
		uint k, n = nbits / BITS_PER_LONG;                                       \
                                                                                         \
		(void)c;                                                                 \
		for (k = 0; k < n; k++)                                                  \
			if (expression)                                                  \
				return false;                                            \
		return !(nbits % BITS_PER_LONG) || !((expression) & last_mask(nbits));   \
	}

#define WEIGHT(name, expression)                                                         \
	static uint name(const ulong *a, const ulong *b, uint nbits)                     \
	{                                                                                \
		uint k, n = nbits / BITS_PER_LONG, weight = 0;                           \
                                                                                         \
		(void)b;                                                                 \
		for (k = 0; k < n; k++)                                                  \
			weight += hweight64(expression);                                 \
		if (nbits % BITS_PER_LONG)                                               \
			weight += hweight64((expression) & last_mask(nbits));            \
		return weight;                                                           \
	}

WHOLE_WORDS(__bitmap_or, a[k] | b[k])
WHOLE_WORDS(__bitmap_xor, a[k] ^ b[k])
MASKED_WORDS(__bitmap_and, a[k] & b[k])
MASKED_WORDS(__bitmap_andnot, a[k] & ~b[k])
NO_BIT(none_differ, a[k] ^ b[k])
NO_BIT(none_common, a[k] & b[k])
NO_BIT(none_missing, a[k] & ~b[k])
NO_BIT(none_differ_from_union, (a[k] | b[k]) ^ c[k])
WEIGHT(weight_of, a[k])
WEIGHT(weight_of_and, a[k] & b[k])
WEIGHT(weight_of_andnot, a[k] & ~b[k])

void __bitmap_complement(ulong *dst, const ulong *src, uint nbits)
{
	for (uint k = 0, n = words_of(nbits); k < n; k++)
		dst[k] = ~src[k];
}

void __bitmap_replace(ulong *dst, const ulong *old, const ulong *new, const ulong *mask, uint nbits)
{
	for (uint k = 0, n = words_of(nbits); k < n; k++)
		dst[k] = (old[k] & ~mask[k]) | (new[k] & mask[k]);
}

bool __bitmap_equal(const ulong *a, const ulong *b, uint nbits) { return none_differ(a, b, NULL, nbits); }
bool __bitmap_intersects(const ulong *a, const ulong *b, uint nbits) { return !none_common(a, b, NULL, nbits); }
bool __bitmap_subset(const ulong *a, const ulong *b, uint nbits) { return none_missing(a, b, NULL, nbits); }

bool __bitmap_or_equal(const ulong *a, const ulong *b, const ulong *c, uint nbits)
{
	return none_differ_from_union(a, b, c, nbits);
}

uint __bitmap_weight(const ulong *a, uint nbits) { return weight_of(a, NULL, nbits); }
uint __bitmap_weight_and(const ulong *a, const ulong *b, uint nbits) { return weight_of_and(a, b, nbits); }
uint __bitmap_weight_andnot(const ulong *a, const ulong *b, uint nbits) { return weight_of_andnot(a, b, nbits); }

uint __bitmap_weighted_or(ulong *dst, const ulong *a, const ulong *b, uint nbits)
{
	__bitmap_or(dst, a, b, nbits);
	return __bitmap_weight(dst, nbits);
}

uint __bitmap_weighted_xor(ulong *dst, const ulong *a, const ulong *b, uint nbits)
{
	__bitmap_xor(dst, a, b, nbits);
	return __bitmap_weight(dst, nbits);
}

/* The part of a word that bits [start, start + len) cover; steps over it. */
static ulong next_mask(uint *start, int *len, uint *word)
{
	uint first = *start % BITS_PER_LONG;
	uint n = minimum(BITS_PER_LONG - first, (uint)*len);

	*word = *start / BITS_PER_LONG;
	*start += n;
	*len -= n;
	return ~0ul >> (BITS_PER_LONG - n) << first;
}

void __bitmap_set(ulong *map, uint start, int len)
{
	uint word;

	while (len > 0) {
		ulong mask = next_mask(&start, &len, &word);

		map[word] |= mask;
	}
}

void __bitmap_clear(ulong *map, uint start, int len)
{
	uint word;

	while (len > 0) {
		ulong mask = next_mask(&start, &len, &word);

		map[word] &= ~mask;
	}
}

/* Towards bit 0. What src holds behind nbits is not shifted in. */
void __bitmap_shift_right(ulong *dst, const ulong *src, uint shift, uint nbits)
{
	uint n = words_of(nbits), skip = shift / BITS_PER_LONG, rest = shift % BITS_PER_LONG;

	for (uint k = 0; k < n; k++) {
		ulong low = 0, high = 0;

		if (skip + k < n)
			low = src[skip + k] & (skip + k == n - 1 ? last_mask(nbits) : ~0ul);
		if (rest && skip + k + 1 < n)
			high = src[skip + k + 1] & (skip + k + 1 == n - 1 ? last_mask(nbits) : ~0ul);
		dst[k] = low >> rest | (rest ? high << (BITS_PER_LONG - rest) : 0);
	}
}

/* Away from bit 0. Bits may come to stand behind nbits in the last word. */
void __bitmap_shift_left(ulong *dst, const ulong *src, uint shift, uint nbits)
{
	uint n = words_of(nbits), skip = shift / BITS_PER_LONG, rest = shift % BITS_PER_LONG;

	for (uint k = n; k-- > 0;) {
		ulong high = k >= skip ? src[k - skip] << rest : 0;
		ulong low = rest && k > skip ? src[k - skip - 1] >> (BITS_PER_LONG - rest) : 0;

		dst[k] = high | low;
	}
}

/* Takes `cut` bits out from bit `first` on; the higher ones move down. */
void bitmap_cut(ulong *dst, const ulong *src, uint first, uint cut, uint nbits)
{
	uint n = words_of(nbits), word = first / BITS_PER_LONG;
	uint skip = cut / BITS_PER_LONG, rest = cut % BITS_PER_LONG;
	ulong kept_mask = ~(~0ul << (first % BITS_PER_LONG)), kept = src[word] & kept_mask;

	memmove(dst, src, n * sizeof(*dst));
	for (uint k = word; k < n; k++) {
		ulong low = k + skip < n ? dst[k + skip] : 0, high = k + skip + 1 < n ? dst[k + skip + 1] : 0;

		dst[k] = low >> rest | (rest ? high << (BITS_PER_LONG - rest) : 0);
	}
	dst[word] = (dst[word] & ~kept_mask) | kept;
}

/* Start of nr free bits at or behind start, aligned by a mask; beyond size when there are none. */
ulong bitmap_find_next_zero_area_off(ulong *map, ulong size, ulong start, uint nr, ulong align_mask, ulong align_offset)
{
	for (;;) {
		ulong index = _find_next_zero_bit(map, size, start), end, taken;

		index = ((index + align_offset + align_mask) & ~align_mask) - align_offset;
		end = index + nr;
		if (end > size)
			return end;
		taken = _find_next_bit(map, end, index);
		if (taken >= end)
			return index;
		start = taken + 1;
	}
}

static bool region_is_free(const ulong *map, uint pos, uint order)
{
	return _find_next_bit(map, pos + (1u << order), pos) >= pos + (1u << order);
}

int bitmap_allocate_region(ulong *map, uint pos, int order)
{
	if (!region_is_free(map, pos, order))
		return -EBUSY;
	__bitmap_set(map, pos, 1 << order);
	return 0;
}

int bitmap_find_free_region(ulong *map, uint bits, int order)
{
	uint size = 1u << order;

	for (uint pos = 0; pos + size <= bits; pos += size)
		if (!bitmap_allocate_region(map, pos, order))
			return pos;
	return -ENOMEM;
}

void bitmap_release_region(ulong *map, uint pos, int order)
{
	__bitmap_clear(map, pos, 1 << order);
}

static uint nth_bit(const ulong *map, uint nbits, uint n)
{
	uint bit = _find_next_bit(map, nbits, 0);

	while (n--)
		bit = _find_next_bit(map, nbits, bit + 1);
	return bit;
}

/* Where the n-th set bit of old is the n-th (modulo their number) of new; other bits map to themselves. */
int bitmap_bitremap(int bit, const ulong *old, const ulong *new, int nbits)
{
	uint available = __bitmap_weight(new, nbits);

	if ((uint)bit >= (uint)nbits || !test_bit(old, bit) || !available)
		return bit;
	return nth_bit(new, nbits, __bitmap_weight(old, bit) % available);
}

void bitmap_remap(ulong *dst, const ulong *src, const ulong *old, const ulong *new, uint nbits)
{
	if (dst == src) /* cannot be done in place: left alone */
		return;
	memset(dst, 0, words_of(nbits) * sizeof(*dst));
	for (uint bit = _find_next_bit(src, nbits, 0); bit < nbits; bit = _find_next_bit(src, nbits, bit + 1))
		__bitmap_set(dst, bitmap_bitremap(bit, old, new, nbits), 1);
}

void bitmap_from_arr32(ulong *map, const u32 *array, uint nbits)
{
	uint halves = (nbits + 31) / 32;

	for (uint i = 0; i < halves; i += 2)
		map[i / 2] = array[i] | (i + 1 < halves ? (ulong)array[i + 1] << 32 : 0);
	if (nbits % BITS_PER_LONG)
		map[(halves - 1) / 2] &= last_mask(nbits);
}

void bitmap_to_arr32(u32 *array, const ulong *map, uint nbits)
{
	uint halves = (nbits + 31) / 32;

	for (uint i = 0; i < halves; i++)
		array[i] = map[i / 2] >> (i % 2 * 32);
	if (nbits % BITS_PER_LONG)
		array[halves - 1] &= ~0u >> (-nbits % 32);
}
