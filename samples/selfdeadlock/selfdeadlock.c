// SPDX-License-Identifier: GPL-2.0-only
/* A bug: a function takes a mutex and calls another that takes it too. */
#include <linux/init.h>
#include <linux/kernel.h>
#include <linux/module.h>
#include <linux/mutex.h>

static DEFINE_MUTEX(mutex);

static noinline void inner(void)
{
	mutex_lock(&mutex);
	pr_info("selfdeadlock: this is never reached\n");
	mutex_unlock(&mutex);
}

static int __init selfdeadlock_init(void)
{
	mutex_lock(&mutex);
	pr_info("selfdeadlock: the mutex is held\n");
	inner();
	mutex_unlock(&mutex);
	return 0;
}

static void __exit selfdeadlock_exit(void)
{
}

module_init(selfdeadlock_init);
module_exit(selfdeadlock_exit);

MODULE_AUTHOR("kmod-emu");
MODULE_DESCRIPTION("A bug: self-deadlock");
MODULE_LICENSE("GPL");
