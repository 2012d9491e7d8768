// SPDX-License-Identifier: GPL-2.0-only
/* A device that says who its caller is, and makes root of whoever writes "root" to it. */
#include <linux/cred.h>
#include <linux/fs.h>
#include <linux/init.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/sched.h>
#include <linux/string.h>
#include <linux/uaccess.h>
#include <linux/uidgid.h>

static ssize_t whoami_read(struct file *file, char __user *to, size_t count, loff_t *pos)
{
	const struct cred *cred = current_cred();
	char text[96];
	int length;

	length = scnprintf(text, sizeof(text), "%s uid=%u euid=%u gid=%u groups=%d user=%u admin=%d owner=%d\n",
			   current->comm, __kuid_val(cred->uid), __kuid_val(cred->euid), __kgid_val(cred->gid),
			   cred->group_info->ngroups, __kuid_val(cred->user->uid), capable(CAP_SYS_ADMIN),
			   uid_eq(file->f_cred->euid, cred->euid));
	return simple_read_from_buffer(to, count, pos, text, length);
}

static ssize_t whoami_write(struct file *file, const char __user *from, size_t count, loff_t *pos)
{
	char text[8];
	int error;

	if (count >= sizeof(text))
		return -EINVAL;
	if (copy_from_user(text, from, count))
		return -EFAULT;
	text[count] = '\0';
	if (!sysfs_streq(text, "root"))
		return -EINVAL;
	error = commit_creds(prepare_kernel_cred(NULL));
	if (error)
		return error;
	pr_info("whoami: %s (%d) is root now\n", current->comm, task_pid_nr(current));
	return count;
}

static const struct file_operations whoami_fops = {
	.owner = THIS_MODULE,
	.read = whoami_read,
	.write = whoami_write,
	.llseek = default_llseek,
};

static struct miscdevice whoami_device = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "whoami",
	.fops = &whoami_fops,
	.mode = 0666,
};

module_misc_device(whoami_device);
MODULE_DESCRIPTION("Says who its caller is, and makes root of whoever asks");
MODULE_LICENSE("GPL");
