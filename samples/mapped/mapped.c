// SPDX-License-Identifier: GPL-2.0-only
/* A miscellaneous device that is memory: read_iter, write_iter, and mmap in two ways. */
#include <linux/fs.h>
#include <linux/init.h>
#include <linux/io.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/uio.h>
#include <linux/vmalloc.h>

#define SIZE (2 * PAGE_SIZE)

static char *memory; /* two pages of vmalloc; the page behind them is brought in when it is touched */
static struct page *later;
static int faults, mappings;

static ssize_t mapped_read_iter(struct kiocb *iocb, struct iov_iter *to)
{
	size_t left = iocb->ki_pos < SIZE ? SIZE - iocb->ki_pos : 0;
	size_t copied = copy_to_iter(memory + iocb->ki_pos, min(left, iov_iter_count(to)), to);

	if (!copied && left && iov_iter_count(to))
		return -EFAULT;
	iocb->ki_pos += copied;
	return copied;
}

static ssize_t mapped_write_iter(struct kiocb *iocb, struct iov_iter *from)
{
	size_t left = iocb->ki_pos < SIZE ? SIZE - iocb->ki_pos : 0;
	size_t wanted = min(left, iov_iter_count(from));

	if (!left)
		return -ENOSPC;
	if (!copy_from_iter_full(memory + iocb->ki_pos, wanted, from))
		return -EFAULT;
	iocb->ki_pos += wanted;
	return wanted;
}

static void mapped_open(struct vm_area_struct *vma)
{
	pr_info("mapped: %d mappings\n", ++mappings);
}

static void mapped_close(struct vm_area_struct *vma)
{
	pr_info("mapped: %d mappings\n", --mappings);
}

static vm_fault_t mapped_fault(struct vm_fault *vmf)
{
	if (vmf->pgoff != SIZE >> PAGE_SHIFT)
		return VM_FAULT_SIGBUS;
	pr_info("mapped: fault %d at page %lu\n", ++faults, vmf->pgoff);
	get_page(later);
	vmf->page = later;
	return 0;
}

static const struct vm_operations_struct vm_operations = {
	.open = mapped_open,
	.close = mapped_close,
	.fault = mapped_fault,
};

static int mapped_mmap(struct file *file, struct vm_area_struct *vma)
{
	unsigned long size = vma->vm_end - vma->vm_start;
	int err = 0;

	if (vma->vm_pgoff < SIZE >> PAGE_SHIFT) {
		if (size > SIZE - (vma->vm_pgoff << PAGE_SHIFT))
			return -ENXIO;
		err = remap_vmalloc_range(vma, memory, vma->vm_pgoff);
	}
	if (!err) {
		vma->vm_ops = &vm_operations;
		mapped_open(vma);
	}
	return err;
}

static const struct file_operations operations = {
	.owner = THIS_MODULE,
	.read_iter = mapped_read_iter,
	.write_iter = mapped_write_iter,
	.mmap = mapped_mmap,
	.llseek = default_llseek,
};

static struct miscdevice device = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "mapped",
	.fops = &operations,
	.mode = 0666,
};

static int __init mapped_init(void)
{
	int err;

	memory = vmalloc_user(SIZE);
	later = alloc_page(GFP_KERNEL | __GFP_ZERO);
	if (!memory || !later) {
		err = -ENOMEM;
		goto no_device;
	}
	strcpy(memory, "from the module");
	strcpy(page_address(later), "touched");
	err = misc_register(&device);
	if (!err)
		return 0;
no_device:
	if (later)
		__free_page(later);
	vfree(memory);
	return err;
}

static void __exit mapped_exit(void)
{
	misc_deregister(&device);
	__free_page(later);
	vfree(memory);
}

module_init(mapped_init);
module_exit(mapped_exit);
MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("A miscellaneous device whose memory programs map");
