/* Binary search (lib/bsearch.c). */
#include "stubs.h"

void *bsearch(const void *key, const void *base, size_t num, size_t size, int (*compare)(const void *, const void *))
{
	const u8 *low = base;

	while (num) {
		const u8 *middle = low + (num >> 1) * size;
		int order = compare(key, middle);

		if (!order)
			return (void *)middle;
		if (order > 0) {
			low = middle + size;
			num--;
		}
		num >>= 1;
	}
	return NULL;
}
