// SPDX-License-Identifier: GPL-2.0-only
/* Locks for two special needs: many readers that must cost nothing, and several locks in no fixed order. */
#include <linux/delay.h>
#include <linux/init.h>
#include <linux/kernel.h>
#include <linux/kthread.h>
#include <linux/module.h>
#include <linux/percpu-rwsem.h>
#include <linux/ww_mutex.h>

static struct percpu_rw_semaphore config;

static int reader(void *name)
{
	percpu_down_read(&config);
	pr_info("morelocks: reader %s is in\n", (char *)name);
	msleep(30);
	pr_info("morelocks: reader %s leaves\n", (char *)name);
	percpu_up_read(&config);
	return 0;
}

static int writer(void *unused)
{
	percpu_down_write(&config);
	pr_info("morelocks: the writer is alone\n");
	msleep(50);
	percpu_up_write(&config);
	return 0;
}

/* Two transactions take the same two locks, each the other one first: the younger one has to give way. */
static DEFINE_WW_CLASS(accounts);
static struct ww_mutex left, right;

static int transaction(void *first)
{
	struct ww_mutex *one = first, *other = one == &left ? &right : &left;
	struct ww_acquire_ctx context;
	const char *name = current->comm;
	int err;

	ww_acquire_init(&context, &accounts);
	ww_mutex_lock(one, &context);
	pr_info("morelocks: %s has its first, once more: %d\n", name, ww_mutex_lock(one, &context));
	msleep(20);
	err = ww_mutex_lock(other, &context);
	if (err == -EDEADLK) {
		pr_info("morelocks: %s gives way (%d)\n", name, err);
		ww_mutex_unlock(one);
		ww_mutex_lock_slow(other, &context);
		ww_mutex_lock(one, &context);
	}
	ww_acquire_done(&context);
	pr_info("morelocks: %s has both\n", name);
	ww_mutex_unlock(one);
	ww_mutex_unlock(other);
	ww_acquire_fini(&context);
	return 0;
}

static int __init morelocks_init(void)
{
	int err = percpu_init_rwsem(&config);

	if (err)
		return err;
	kthread_run(reader, "A", "readerA");
	kthread_run(writer, NULL, "writer");
	msleep(10);
	kthread_run(reader, "B", "readerB");
	pr_info("morelocks: a reader that does not wait: %d\n", percpu_down_read_trylock(&config));
	msleep(300);

	ww_mutex_init(&left, &accounts);
	ww_mutex_init(&right, &accounts);
	kthread_run(transaction, &left, "older");
	msleep(2);
	kthread_run(transaction, &right, "younger");
	msleep(300);
	return 0;
}

static void __exit morelocks_exit(void)
{
	ww_mutex_destroy(&left);
	ww_mutex_destroy(&right);
	percpu_free_rwsem(&config);
}

module_init(morelocks_init);
module_exit(morelocks_exit);

MODULE_LICENSE("GPL");
MODULE_AUTHOR("kmod-emu");
MODULE_DESCRIPTION("per-CPU reader-writer semaphores and wound/wait mutexes");
