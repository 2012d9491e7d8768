/*
 * Stable merge sort of a linked list (lib/list_sort.c), in Linux's order of comparisons: sorted runs of 2^k elements
 * wait, linked by prev, and two of a size are merged once a third of that size has been seen.
 */
#include "stubs.h"

typedef int (*compare_t)(void *priv, const struct list_head *a, const struct list_head *b);

/* Merges two NULL-ended lists; a wins ties. Only next is kept up. */
static struct list_head *merge(void *priv, compare_t compare, struct list_head *a, struct list_head *b)
{
	struct list_head *first, **tail = &first;

	while (a && b) {
		struct list_head **taken = compare(priv, a, b) <= 0 ? &a : &b;

		*tail = *taken;
		tail = &(*taken)->next;
		*taken = *tail;
	}
	*tail = a ? a : b;
	return first;
}

/* The last merge also makes the list circular and doubly linked again. */
static void merge_into(struct list_head *head, void *priv, compare_t compare, struct list_head *a, struct list_head *b)
{
	struct list_head *tail = head;
	u8 count = 0;

	while (a && b) {
		struct list_head **taken = compare(priv, a, b) <= 0 ? &a : &b;

		tail->next = *taken;
		(*taken)->prev = tail;
		tail = *taken;
		*taken = tail->next;
	}
	if (!a)
		a = b;
	for (tail->next = a; a; a = a->next) {
		/* Every 256 elements the callback is called, so that one that yields still gets its turn. */
		if (!++count)
			compare(priv, a, a);
		a->prev = tail;
		tail = a;
	}
	tail->next = head;
	head->prev = tail;
}

void list_sort(void *priv, struct list_head *head, compare_t compare)
{
	struct list_head *rest = head->next, *pending = NULL, *sorted;
	size_t count = 0;

	if (rest == head->prev)
		return;
	head->prev->next = NULL;
	do {
		struct list_head **run = &pending;
		size_t bits = count;

		/* Trailing ones of the count are the runs that must wait; a one above them asks for a merge. */
		for (; bits & 1; bits >>= 1)
			run = &(*run)->prev;
		if (bits) {
			struct list_head *newer = *run, *older = newer->prev, *below = older->prev;

			*run = merge(priv, compare, older, newer);
			(*run)->prev = below;
		}
		rest->prev = pending;
		pending = rest;
		rest = rest->next;
		pending->next = NULL;
		count++;
	} while (rest);

	sorted = pending;
	pending = pending->prev;
	while (pending->prev) {
		struct list_head *older = pending->prev;

		sorted = merge(priv, compare, pending, sorted);
		pending = older;
	}
	merge_into(head, priv, compare, pending, sorted);
}
