// SPDX-License-Identifier: GPL-2.0-only
/* Every kind of lock, used as it should be. */
#include <linux/delay.h>
#include <linux/init.h>
#include <linux/interrupt.h>
#include <linux/kernel.h>
#include <linux/kthread.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/percpu.h>
#include <linux/rwsem.h>
#include <linux/semaphore.h>
#include <linux/seqlock.h>
#include <linux/spinlock.h>

static DEFINE_MUTEX(mutex);
static DEFINE_SPINLOCK(spinlock);
static DEFINE_RWLOCK(rwlock);
static DECLARE_RWSEM(rwsem);
static DEFINE_SEMAPHORE(semaphore);
static DEFINE_SEQLOCK(seqlock);
static DEFINE_PER_CPU(int, per_cpu_counter);
static atomic_t atomic = ATOMIC_INIT(0);
static refcount_t refcount = REFCOUNT_INIT(1);
static int counter;

static int add(void *data)
{
	int i, seen;

	for (i = 0; i < 5; i++) {
		mutex_lock(&mutex);
		seen = counter;
		msleep(4); /* another thread would come in between here */
		counter = seen + 1;
		mutex_unlock(&mutex);
	}
	down_read(&rwsem);
	pr_info("locks: %s reads %d\n", current->comm, counter);
	msleep(10);
	up_read(&rwsem);
	while (!kthread_should_stop())
		schedule_timeout_interruptible(1);
	return 0;
}

static void spin_variants(void)
{
	unsigned long flags, seq;

	spin_lock(&spinlock);
	pr_info("locks: spin_lock: atomic %d, trylock %d\n", !!in_atomic(), spin_trylock(&spinlock));
	spin_unlock(&spinlock);
	spin_lock_bh(&spinlock);
	pr_info("locks: spin_lock_bh: softirqs off %d\n", !!in_softirq());
	spin_unlock_bh(&spinlock);
	spin_lock_irqsave(&spinlock, flags);
	pr_info("locks: spin_lock_irqsave: interrupts off %d\n", !!irqs_disabled());
	spin_unlock_irqrestore(&spinlock, flags);
	pr_info("locks: after it: interrupts off %d, atomic %d\n", !!irqs_disabled(), !!in_atomic());

	read_lock(&rwlock);
	read_lock(&rwlock);
	pr_info("locks: two readers, write_trylock %d\n", write_trylock(&rwlock));
	read_unlock(&rwlock);
	read_unlock(&rwlock);
	write_lock(&rwlock);
	write_unlock(&rwlock);

	seq = read_seqbegin(&seqlock);
	write_seqlock(&seqlock);
	write_sequnlock(&seqlock);
	pr_info("locks: a writer came in between: %d\n", !!read_seqretry(&seqlock, seq));
}

static int __init locks_init(void)
{
	struct task_struct *threads[2];
	int i;

	spin_variants();
	for (i = 0; i < 2; i++)
		threads[i] = kthread_run(add, NULL, "adder%d", i);
	down_write(&rwsem);
	msleep(200);
	pr_info("locks: the readers had to wait\n");
	up_write(&rwsem);
	msleep(20);
	for (i = 0; i < 2; i++)
		kthread_stop(threads[i]);
	pr_info("locks: the sum is right: %d\n", counter);

	pr_info("locks: semaphore: %d", down_interruptible(&semaphore));
	pr_cont(" %d", down_trylock(&semaphore));
	pr_cont(" %d\n", down_timeout(&semaphore, 2));
	up(&semaphore);
	this_cpu_inc(per_cpu_counter);
	pr_info("locks: per-CPU %d, atomic %d, refcount %d\n", this_cpu_read(per_cpu_counter),
		atomic_inc_return(&atomic), refcount_inc_not_zero(&refcount));
	return 0;
}

static void __exit locks_exit(void)
{
}

module_init(locks_init);
module_exit(locks_exit);

MODULE_AUTHOR("kmod-emu");
MODULE_DESCRIPTION("Locks");
MODULE_LICENSE("GPL");
