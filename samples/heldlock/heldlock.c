// SPDX-License-Identifier: GPL-2.0-only
/* Bugs: init returns with a mutex held, exit releases one that nobody holds. */
#include <linux/init.h>
#include <linux/kernel.h>
#include <linux/module.h>
#include <linux/mutex.h>

static DEFINE_MUTEX(kept);
static DEFINE_MUTEX(released);

static int __init heldlock_init(void)
{
	mutex_lock(&kept);
	return 0;
}

static void __exit heldlock_exit(void)
{
	mutex_unlock(&released);
}

module_init(heldlock_init);
module_exit(heldlock_exit);

MODULE_AUTHOR("kmod-emu");
MODULE_DESCRIPTION("Bugs: a lock held too long, an unlock too many");
MODULE_LICENSE("GPL");
