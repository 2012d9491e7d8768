// SPDX-License-Identifier: GPL-2.0-only
/* A list read without locks: entries are freed when no reader can see them any more. */
#include <linux/delay.h>
#include <linux/init.h>
#include <linux/kernel.h>
#include <linux/kthread.h>
#include <linux/module.h>
#include <linux/rculist.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/srcu.h>

struct book {
	int id;
	struct list_head node;
	struct rcu_head rcu;
};

static LIST_HEAD(books);
static DEFINE_SPINLOCK(lock);
DEFINE_STATIC_SRCU(srcu);
static bool reading;

static void add(int id)
{
	struct book *book = kzalloc(sizeof(*book), GFP_KERNEL);

	if (!book)
		return;
	book->id = id;
	spin_lock(&lock);
	list_add_tail_rcu(&book->node, &books);
	spin_unlock(&lock);
}

static void reclaim(struct rcu_head *rcu)
{
	struct book *book = container_of(rcu, struct book, rcu);

	pr_info("rculist: book %d is freed, in softirq: %d\n", book->id, !!in_serving_softirq());
	kfree(book);
}

static void show(const char *when)
{
	struct book *book;
	int sum = 0;

	rcu_read_lock();
	list_for_each_entry_rcu(book, &books, node)
		sum = sum * 10 + book->id;
	rcu_read_unlock();
	pr_info("rculist: %s: %d\n", when, sum);
}

static int read_slowly(void *data)
{
	int index = srcu_read_lock(&srcu);

	reading = true;
	msleep(50);
	pr_info("rculist: the slow reader is done\n");
	srcu_read_unlock(&srcu, index);
	return 0;
}

static int __init rculist_init(void)
{
	struct book *book, *next;
	int i;

	for (i = 1; i <= 4; i++)
		add(i);
	show("all");
	spin_lock(&lock);
	list_for_each_entry_safe(book, next, &books, node) {
		if (book->id == 2) {
			list_del_rcu(&book->node);
			call_rcu(&book->rcu, reclaim);
		} else if (book->id == 3) {
			list_del_rcu(&book->node);
			kfree_rcu(book, rcu);
		}
	}
	spin_unlock(&lock);
	show("two are gone");
	synchronize_rcu();
	pr_info("rculist: a grace period is over\n");

	kthread_run(read_slowly, NULL, "slow_reader");
	while (!reading)
		msleep(5);
	synchronize_srcu(&srcu);
	pr_info("rculist: all sleepable readers have left\n");
	return 0;
}

static void __exit rculist_exit(void)
{
	struct book *book, *next;

	list_for_each_entry_safe(book, next, &books, node) {
		list_del_rcu(&book->node);
		call_rcu(&book->rcu, reclaim);
	}
	rcu_barrier();
	pr_info("rculist: all callbacks have run\n");
}

module_init(rculist_init);
module_exit(rculist_exit);

MODULE_AUTHOR("kmod-emu");
MODULE_DESCRIPTION("RCU");
MODULE_LICENSE("GPL");
