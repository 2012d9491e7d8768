/* Lists checked before they change (lib/list_debug.c): a damaged one ends in BUG(). */
#include "imports.h"

#define POISON1 ((struct list_head *)0xdead000000000100ul)
#define POISON2 ((struct list_head *)0xdead000000000122ul)

/* The line is where the kernel's own file has the check. */
#define CHECK(damaged, line, ...)                            \
	if (damaged) {                                       \
		import__printk(KERN_ERR __VA_ARGS__);        \
		import_list_corruption(line);                \
		return false;                                \
	}

bool __list_add_valid(struct list_head *new, struct list_head *prev, struct list_head *next)
{
	CHECK(!prev, 23, "list_add corruption. prev is NULL.\n");
	CHECK(!next, 25, "list_add corruption. next is NULL.\n");
	CHECK(next->prev != prev, 27, "list_add corruption. next->prev should be prev (%px), but was %px. (next=%px).\n",
	      prev, next->prev, next);
	CHECK(prev->next != next, 30, "list_add corruption. prev->next should be next (%px), but was %px. (prev=%px).\n",
	      next, prev->next, prev);
	CHECK(new == prev || new == next, 33, "list_add double add: new=%px, prev=%px, next=%px.\n", new, prev, next);
	return true;
}

bool __list_del_entry_valid(struct list_head *entry)
{
	struct list_head *prev = entry->prev, *next = entry->next;

	CHECK(!next, 47, "list_del corruption, %px->next is NULL\n", entry);
	CHECK(!prev, 50, "list_del corruption, %px->prev is NULL\n", entry);
	CHECK(next == POISON1, 53, "list_del corruption, %px->next is LIST_POISON1 (%px)\n", entry, POISON1);
	CHECK(prev == POISON2, 56, "list_del corruption, %px->prev is LIST_POISON2 (%px)\n", entry, POISON2);
	CHECK(prev->next != entry, 59, "list_del corruption. prev->next should be %px, but was %px. (prev=%px)\n",
	      entry, prev->next, prev);
	CHECK(next->prev != entry, 62, "list_del corruption. next->prev should be %px, but was %px. (next=%px)\n",
	      entry, next->prev, next);
	return true;
}

/* The names since 6.6, where inlined code has made the simple checks. */
bool __list_add_valid_or_report(struct list_head *new, struct list_head *prev, struct list_head *next)
{
	return __list_add_valid(new, prev, next);
}

bool __list_del_entry_valid_or_report(struct list_head *entry) { return __list_del_entry_valid(entry); }
