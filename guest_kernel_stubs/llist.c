/* Lock-free singly linked lists (lib/llist.c). */
#include "stubs.h"

struct llist_node { struct llist_node *next; };
struct llist_head { struct llist_node *first; };

/* True when the list was empty before. */
bool llist_add_batch(struct llist_node *new_first, struct llist_node *new_last, struct llist_head *head)
{
	struct llist_node *first = head->first;

	do
		new_last->next = first;
	while (!__atomic_compare_exchange_n(&head->first, &first, new_first, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST));
	return !first;
}

struct llist_node *llist_del_first(struct llist_head *head)
{
	struct llist_node *first = head->first;

	do {
		if (!first)
			return NULL;
	} while (!__atomic_compare_exchange_n(&head->first, &first, first->next, false, __ATOMIC_SEQ_CST,
					      __ATOMIC_SEQ_CST));
	return first;
}

bool llist_del_first_this(struct llist_head *head, struct llist_node *this)
{
	struct llist_node *expected = this;

	return __atomic_compare_exchange_n(&head->first, &expected, this->next, false, __ATOMIC_SEQ_CST,
					   __ATOMIC_SEQ_CST);
}

struct llist_node *llist_reverse_order(struct llist_node *node)
{
	struct llist_node *reversed = NULL;

	while (node) {
		struct llist_node *next = node->next;

		node->next = reversed;
		reversed = node;
		node = next;
	}
	return reversed;
}
