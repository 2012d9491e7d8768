/*
 * Heapsort, bottom-up, without recursion or allocation (lib/sort.c). The order of comparisons and swaps is that of
 * Linux: elements that compare equal come out in the same order.
 */
#include "stubs.h"

typedef int (*compare_r_t)(const void *a, const void *b, const void *priv);
typedef void (*swap_r_t)(void *a, void *b, int size, const void *priv);
typedef int (*compare_t)(const void *a, const void *b);
typedef void (*swap_t)(void *a, void *b, int size);

static void swap_bytes(u8 *a, u8 *b, size_t size)
{
	for (; size >= 8; size -= 8, a += 8, b += 8) {
		u64 kept = load64(a);

		*(u64 *)a = load64(b);
		*(u64 *)b = kept;
	}
	for (; size; size--, a++, b++) {
		u8 kept = *a;

		*a = *b;
		*b = kept;
	}
}

struct sorting {
	u8 *base;
	size_t size;
	compare_r_t compare;
	swap_r_t swap;
	const void *priv;
};

static bool not_below(const struct sorting *s, size_t i, size_t j)
{
	return s->compare(s->base + i * s->size, s->base + j * s->size, s->priv) >= 0;
}

static void exchange(const struct sorting *s, size_t i, size_t j)
{
	u8 *a = s->base + i * s->size, *b = s->base + j * s->size;

	if (s->swap)
		s->swap(a, b, s->size, s->priv);
	else
		swap_bytes(a, b, s->size);
}

static size_t parent(size_t i)
{
	return (i - 1) / 2;
}

/*
 * Element `root` of a heap of n may be too small: walk down along the larger children to a leaf, back up to where it
 * belongs, then shift that path. About half the comparisons of the usual way.
 */
static void sift_down(const struct sorting *s, size_t root, size_t n)
{
	size_t place = root, child;

	while ((child = 2 * place + 1) + 1 < n)
		place = not_below(s, child, child + 1) ? child : child + 1;
	if (child + 1 == n) /* a last leaf without a sibling */
		place = child;
	while (place != root && not_below(s, root, place))
		place = parent(place);
	for (child = place; place != root;) {
		place = parent(place);
		exchange(s, place, child);
	}
}

void sort_r(void *base, size_t num, size_t size, compare_r_t compare, swap_r_t swap, const void *priv)
{
	struct sorting s = { base, size, compare, swap, priv };
	size_t root = num / 2, n = num;

	if (num < 2)
		return;
	while (root)
		sift_down(&s, --root, n);
	while (--n) {
		exchange(&s, 0, n);
		sift_down(&s, 0, n);
	}
}

struct plain { compare_t compare; swap_t swap; };

static int call_compare(const void *a, const void *b, const void *priv)
{
	return ((const struct plain *)priv)->compare(a, b);
}

static void call_swap(void *a, void *b, int size, const void *priv)
{
	((const struct plain *)priv)->swap(a, b, size);
}

void sort(void *base, size_t num, size_t size, compare_t compare, swap_t swap)
{
	struct plain functions = { compare, swap };

	sort_r(base, num, size, call_compare, swap ? call_swap : NULL, &functions);
}

void sort_r_nonatomic(void *base, size_t num, size_t size, compare_r_t compare, swap_r_t swap, const void *priv)
	ALIAS(sort_r);
void sort_nonatomic(void *base, size_t num, size_t size, compare_t compare, swap_t swap) ALIAS(sort);
