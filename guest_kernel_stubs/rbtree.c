/*
 * Red-black trees (lib/rbtree.c). Trees come out with the shape that Linux gives them, since modules walk them.
 *
 * The mirror images of each case are one piece of code here: a node's children are an array indexed by side.
 */
#include "stubs.h"

enum { RED, BLACK };
enum { RIGHT, LEFT }; /* in the order of the structure */

struct rb_node {
	ulong parent_color; /* the parent's address, and in bit 0 the own colour */
	struct rb_node *child[2];
};
struct rb_root { struct rb_node *node; };
typedef void (*augment_rotate_t)(struct rb_node *old, struct rb_node *new);

static struct rb_node *parent_of(const struct rb_node *node)
{
	return (struct rb_node *)(node->parent_color & ~3ul);
}

static int color_of(const struct rb_node *node)
{
	return node->parent_color & 1;
}

/* Leaves that are not there are black. */
static bool is_red(const struct rb_node *node)
{
	return node && color_of(node) == RED;
}

static void set_parent(struct rb_node *node, struct rb_node *parent)
{
	node->parent_color = (ulong)parent | color_of(node);
}

static void set_color(struct rb_node *node, int color)
{
	node->parent_color = (node->parent_color & ~1ul) | color;
}

/* Puts `new` where parent (or the root) points to `old`. */
static void change_child(struct rb_root *root, struct rb_node *parent, struct rb_node *old, struct rb_node *new)
{
	if (!parent)
		root->node = new;
	else if (parent->child[LEFT] == old)
		parent->child[LEFT] = new;
	else
		parent->child[RIGHT] = new;
}

/* Moves `node` down towards `side`; its other child takes its place. Colours stay with the nodes. */
static void rotate(struct rb_root *root, struct rb_node *node, int side, augment_rotate_t augment)
{
	struct rb_node *up = node->child[!side], *parent = parent_of(node), *middle = up->child[side];

	node->child[!side] = middle;
	if (middle)
		set_parent(middle, node);
	up->child[side] = node;
	set_parent(node, up);
	set_parent(up, parent);
	change_child(root, parent, node, up);
	if (augment)
		augment(node, up);
}

void __rb_insert_augmented(struct rb_node *node, struct rb_root *root, augment_rotate_t augment)
{
	struct rb_node *parent = parent_of(node);

	node->parent_color = (ulong)parent | RED;
	for (;;) {
		struct rb_node *grandparent, *uncle;
		int side;

		if (!parent) {
			set_color(node, BLACK);
			return;
		}
		if (!is_red(parent))
			return;
		grandparent = parent_of(parent);
		side = grandparent->child[LEFT] == parent ? LEFT : RIGHT;
		uncle = grandparent->child[!side];
		if (is_red(uncle)) {
			set_color(uncle, BLACK);
			set_color(parent, BLACK);
			set_color(grandparent, RED);
			node = grandparent;
			parent = parent_of(node);
			continue;
		}
		if (node == parent->child[!side]) {
			rotate(root, parent, side, augment);
			parent = node;
		}
		set_color(parent, BLACK);
		set_color(grandparent, RED);
		rotate(root, grandparent, !side, augment);
		return;
	}
}

void rb_insert_color(struct rb_node *node, struct rb_root *root)
{
	__rb_insert_augmented(node, root, NULL);
}

/* One black node is missing on the paths through a (childless or black) child of parent. */
void __rb_erase_color(struct rb_node *parent, struct rb_root *root, augment_rotate_t augment)
{
	struct rb_node *node = NULL;

	while (parent) {
		int side = parent->child[RIGHT] == node ? RIGHT : LEFT;
		struct rb_node *sibling = parent->child[!side];

		if (is_red(sibling)) {
			set_color(sibling, BLACK);
			set_color(parent, RED);
			rotate(root, parent, side, augment);
			sibling = parent->child[!side];
		}
		if (!is_red(sibling->child[LEFT]) && !is_red(sibling->child[RIGHT])) {
			set_color(sibling, RED);
			if (is_red(parent)) {
				set_color(parent, BLACK);
				return;
			}
			node = parent;
			parent = parent_of(node);
			continue;
		}
		if (!is_red(sibling->child[!side])) {
			struct rb_node *near = sibling->child[side];

			set_color(near, BLACK);
			set_color(sibling, RED);
			rotate(root, sibling, !side, augment);
			sibling = near;
		}
		set_color(sibling, color_of(parent));
		set_color(parent, BLACK);
		set_color(sibling->child[!side], BLACK);
		rotate(root, parent, side, augment);
		return;
	}
}

/* Takes a node with at most one child out; returns where the tree lost a black node, or NULL. */
static struct rb_node *unlink_single(struct rb_node *node, struct rb_root *root)
{
	struct rb_node *parent = parent_of(node);
	struct rb_node *child = node->child[LEFT] ? node->child[LEFT] : node->child[RIGHT];

	change_child(root, parent, node, child);
	if (child) { /* red, below a black node: it takes that node's place and colour */
		child->parent_color = node->parent_color;
		return NULL;
	}
	return color_of(node) == BLACK ? parent : NULL;
}

/*
 * propagate(node) is called where a subtree lost a node, for it and all above, once the replacement is in place;
 * rotate as when inserting.
 */
INTERNAL void rb_erase_with(struct rb_node *node, struct rb_root *root, void (*propagate)(struct rb_node *node),
			    augment_rotate_t rotate)
{
	struct rb_node *successor, *unbalanced, *lowest = parent_of(node);

	if (!node->child[LEFT] || !node->child[RIGHT]) {
		unbalanced = unlink_single(node, root);
	} else {
		successor = node->child[RIGHT];
		while (successor->child[LEFT])
			successor = successor->child[LEFT];
		lowest = parent_of(successor) == node ? successor : parent_of(successor);
		unbalanced = unlink_single(successor, root);
		if (unbalanced == node)
			unbalanced = successor;
		successor->parent_color = node->parent_color;
		for (int side = 0; side < 2; side++) {
			successor->child[side] = node->child[side];
			if (successor->child[side])
				set_parent(successor->child[side], successor);
		}
		change_child(root, parent_of(node), node, successor);
	}
	if (propagate)
		propagate(lowest);
	if (unbalanced)
		__rb_erase_color(unbalanced, root, rotate);
}

void rb_erase(struct rb_node *node, struct rb_root *root)
{
	rb_erase_with(node, root, NULL, NULL);
}

void rb_replace_node(struct rb_node *victim, struct rb_node *new, struct rb_root *root)
{
	*new = *victim;
	for (int side = 0; side < 2; side++)
		if (victim->child[side])
			set_parent(victim->child[side], new);
	change_child(root, parent_of(victim), victim, new);
}

void rb_replace_node_rcu(struct rb_node *victim, struct rb_node *new, struct rb_root *root) ALIAS(rb_replace_node);

static struct rb_node *outermost(struct rb_node *node, int side)
{
	if (node)
		while (node->child[side])
			node = node->child[side];
	return node;
}

struct rb_node *rb_first(const struct rb_root *root)
{
	return outermost(root->node, LEFT);
}

struct rb_node *rb_last(const struct rb_root *root)
{
	return outermost(root->node, RIGHT);
}

/* A node that is its own parent was never put into a tree (RB_CLEAR_NODE). */
static struct rb_node *neighbour(const struct rb_node *node, int side)
{
	struct rb_node *parent;

	if (node->parent_color == (ulong)node)
		return NULL;
	if (node->child[side])
		return outermost(node->child[side], !side);
	while ((parent = parent_of(node)) && node == parent->child[side])
		node = parent;
	return parent;
}

struct rb_node *rb_next(const struct rb_node *node)
{
	return neighbour(node, RIGHT);
}

struct rb_node *rb_prev(const struct rb_node *node)
{
	return neighbour(node, LEFT);
}

/* The leaf reached by going left where possible, else right. */
static struct rb_node *deepest(struct rb_node *node)
{
	for (;;) {
		if (node->child[LEFT])
			node = node->child[LEFT];
		else if (node->child[RIGHT])
			node = node->child[RIGHT];
		else
			return node;
	}
}

struct rb_node *rb_first_postorder(const struct rb_root *root)
{
	return root->node ? deepest(root->node) : NULL;
}

struct rb_node *rb_next_postorder(const struct rb_node *node)
{
	struct rb_node *parent;

	if (!node)
		return NULL;
	parent = parent_of(node);
	if (parent && node == parent->child[LEFT] && parent->child[RIGHT])
		return deepest(parent->child[RIGHT]);
	return parent;
}
