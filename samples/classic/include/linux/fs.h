/* SPDX-License-Identifier: GPL-2.0-only */
/* A driver's row in the table of devices: pointers to its functions. Members that are not here are not served. */
#ifndef _LINUX_FS_H
#define _LINUX_FS_H

#include <linux/types.h>

#define MINOR(dev)	((unsigned int)((dev) & 0xff))
#define MAJOR(dev)	((unsigned int)((dev) >> 8))

struct module;
struct poll_table_struct;
struct vm_area_struct;
struct dentry;

struct list_head {
	struct list_head *next, *prev;
};

struct inode {
	unsigned long i_ino;
	kdev_t i_rdev;
	umode_t i_mode;
};

struct file {
	struct list_head f_list;
	struct dentry *f_dentry;
	void *f_vfsmnt;
	struct file_operations *f_op;
	int f_count;
	unsigned int f_flags;
	unsigned int f_mode;
	loff_t f_pos;
	void *private_data;
};

struct file_operations {
	struct module *owner;
	loff_t (*llseek)(struct file *, loff_t, int);
	ssize_t (*read)(struct file *, char *, size_t, loff_t *);
	ssize_t (*write)(struct file *, const char *, size_t, loff_t *);
	int (*readdir)(struct file *, void *, void *);
	unsigned int (*poll)(struct file *, struct poll_table_struct *);
	int (*ioctl)(struct inode *, struct file *, unsigned int, unsigned long);
	int (*mmap)(struct file *, struct vm_area_struct *);
	int (*open)(struct inode *, struct file *);
	int (*flush)(struct file *);
	int (*release)(struct inode *, struct file *);
	int (*fsync)(struct file *, struct dentry *, int);
	int (*fasync)(int, struct file *, int);
	int (*lock)(struct file *, int, void *);
	ssize_t (*readv)(struct file *, const void *, unsigned long, loff_t *);
	ssize_t (*writev)(struct file *, const void *, unsigned long, loff_t *);
	ssize_t (*sendpage)(struct file *, void *, int, size_t, loff_t *, int);
};

int register_chrdev(unsigned int major, const char *name, struct file_operations *fops);
int unregister_chrdev(unsigned int major, const char *name);

#endif
