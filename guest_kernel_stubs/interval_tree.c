/*
 * Intervals [start, last] in a red-black tree that is sorted by start and knows of each subtree the greatest last
 * (lib/interval_tree.c).
 */
#include "stubs.h"

struct rb_node {
	ulong parent_color;
	struct rb_node *right, *left;
};
struct rb_root_cached { struct rb_node *root, *leftmost; };
struct interval {
	struct rb_node rb; /* first: a node's address is its interval's */
	ulong start, last, subtree_last;
};

void __rb_insert_augmented(struct rb_node *node, void *root, void (*rotate)(struct rb_node *, struct rb_node *));
INTERNAL void rb_erase_with(struct rb_node *node, void *root, void (*propagate)(struct rb_node *node),
			    void (*rotate)(struct rb_node *, struct rb_node *));
struct rb_node *rb_next(const struct rb_node *node);

static struct interval *interval(struct rb_node *rb)
{
	return (struct interval *)rb;
}

static struct rb_node *parent_of(const struct rb_node *node)
{
	return (struct rb_node *)(node->parent_color & ~3ul);
}

static void update(struct interval *node)
{
	node->subtree_last = node->last;
	if (node->rb.left)
		node->subtree_last = maximum(node->subtree_last, interval(node->rb.left)->subtree_last);
	if (node->rb.right)
		node->subtree_last = maximum(node->subtree_last, interval(node->rb.right)->subtree_last);
}

static void update_upwards(struct rb_node *node)
{
	for (; node; node = parent_of(node))
		update(interval(node));
}

static void after_rotation(struct rb_node *old, struct rb_node *new)
{
	update(interval(old));
	update(interval(new));
}

void interval_tree_insert(struct interval *node, struct rb_root_cached *tree)
{
	struct rb_node **link = &tree->root, *parent = NULL;
	bool leftmost = true;

	while (*link) {
		parent = *link;
		if (node->start < interval(parent)->start) {
			link = &parent->left;
		} else {
			link = &parent->right;
			leftmost = false;
		}
	}
	node->rb = (struct rb_node){ .parent_color = (ulong)parent };
	*link = &node->rb;
	if (leftmost)
		tree->leftmost = &node->rb;
	update_upwards(&node->rb);
	__rb_insert_augmented(&node->rb, &tree->root, after_rotation);
}

void interval_tree_remove(struct interval *node, struct rb_root_cached *tree)
{
	if (tree->leftmost == &node->rb)
		tree->leftmost = rb_next(&node->rb);
	rb_erase_with(&node->rb, &tree->root, update_upwards, after_rotation);
}

/* The first by start that meets [start, last] in a subtree which is known to reach start. */
static struct interval *search(struct interval *node, ulong start, ulong last)
{
	for (;;) {
		if (node->rb.left && interval(node->rb.left)->subtree_last >= start) {
			node = interval(node->rb.left);
			continue;
		}
		if (node->start > last)
			return NULL;
		if (node->last >= start)
			return node;
		if (!node->rb.right || interval(node->rb.right)->subtree_last < start)
			return NULL;
		node = interval(node->rb.right);
	}
}

struct interval *interval_tree_subtree_search(struct interval *node, ulong start, ulong last) ALIAS(search);

struct interval *interval_tree_iter_first(struct rb_root_cached *tree, ulong start, ulong last)
{
	if (!tree->root || interval(tree->root)->subtree_last < start || interval(tree->leftmost)->start > last)
		return NULL;
	return search(interval(tree->root), start, last);
}

struct interval *interval_tree_iter_next(struct interval *node, ulong start, ulong last)
{
	struct rb_node *rb = node->rb.right, *from;

	for (;;) {
		if (rb && interval(rb)->subtree_last >= start)
			return search(interval(rb), start, last);
		/* Up until we come from the left. */
		do {
			from = &node->rb;
			rb = parent_of(from);
			if (!rb)
				return NULL;
			node = interval(rb);
		} while (rb->right == from);
		if (node->start > last)
			return NULL;
		if (node->last >= start)
			return node;
		rb = node->rb.right;
	}
}
