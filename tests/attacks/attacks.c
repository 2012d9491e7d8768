// SPDX-License-Identifier: MIT
/*
 * What a hostile module does: one attack for each load, by its name. An attack that can end returns an errno
 * or 0; most are not meant to.
 */
#include <linux/anon_inodes.h>
#include <linux/delay.h>
#include <linux/device.h>
#include <linux/fs.h>
#include <linux/hrtimer.h>
#include <linux/idr.h>
#include <linux/init.h>
#include <linux/interrupt.h>
#include <linux/kmod.h>
#include <linux/kthread.h>
#include <linux/list.h>
#include <linux/module.h>
#include <linux/moduleparam.h>
#include <linux/proc_fs.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include <linux/timer.h>
#include <linux/vmalloc.h>
#include <linux/workqueue.h>
#include <linux/xarray.h>

static char *attack = "";
module_param(attack, charp, 0);
static unsigned long at;
module_param(at, ulong, 0);
static char *path = "";
module_param(path, charp, 0);

static volatile unsigned long sink;

/* --- the processor ------------------------------------------------------------------------------- */

static int loop(void)
{
	for (;;)
		sink++;
	return 0;
}

static int loop_without_interrupts(void)
{
	local_irq_disable();
	for (;;)
		cpu_relax();
	return 0;
}

static int loop_delay(void)
{
	for (;;)
		udelay(1);
	return 0;
}

static int loop_schedule(void)
{
	for (;;)
		schedule();
	return 0;
}

static int loop_resched(void)
{
	for (;;)
		cond_resched();
	return 0;
}

static int loop_sleep(void)
{
	for (;;)
		msleep(1);
	return 0;
}

static void construct(void *object)
{
	*(int *)object = 1;
}

static int loop_construct(void)
{
	struct kmem_cache *cache = kmem_cache_create("attacks", 64, 8, 0, construct);

	for (;;)
		kmem_cache_free(cache, kmem_cache_alloc(cache, GFP_KERNEL));
	return 0;
}

static int recursion(int depth)
{
	volatile char frame[128];

	frame[0] = depth;
	return depth < 0 ? frame[0] : recursion(depth + 1) + frame[0];
}

static int recurse(void)
{
	return recursion(0);
}

static int halted(void)
{
	for (;;)
		asm volatile("cli; hlt");
	return 0;
}

/* --- threads, timers, work ------------------------------------------------------------------------ */

static int bomb(void *data)
{
	for (;;) {
		kthread_run(bomb, NULL, "bomb");
		kthread_run(bomb, NULL, "bomb");
	}
	return 0;
}

static int fork_bomb(void)
{
	struct task_struct *task = kthread_run(bomb, NULL, "bomb");

	return PTR_ERR_OR_ZERO(task);
}

static int idle_thread(void *data)
{
	for (;;) {
		set_current_state(TASK_INTERRUPTIBLE);
		schedule();
	}
	return 0;
}

static int sleeping_threads(void)
{
	struct task_struct *task;

	do
		task = kthread_run(idle_thread, NULL, "idle");
	while (!IS_ERR(task));
	return PTR_ERR(task);
}

static struct task_struct *players[2];

static int player(void *data)
{
	long me = (long)data;

	for (;;) {
		set_current_state(TASK_INTERRUPTIBLE);
		wake_up_process(players[!me]);
		schedule();
	}
	return 0;
}

static int ping_pong(void)
{
	players[0] = kthread_create(player, (void *)0, "ping");
	players[1] = kthread_create(player, (void *)1, "pong");
	wake_up_process(players[0]);
	return 0;
}

static void again_and_again(struct tasklet_struct *tasklet)
{
	tasklet_schedule(tasklet);
}

static struct tasklet_struct endless_tasklet;

static int tasklets(void)
{
	tasklet_setup(&endless_tasklet, again_and_again);
	tasklet_schedule(&endless_tasklet);
	return 0;
}

static void requeue(struct work_struct *work)
{
	schedule_work(work);
}

static DECLARE_WORK(endless_work, requeue);

static int works(void)
{
	schedule_work(&endless_work);
	return 0;
}

static void rearm(struct timer_list *timer)
{
	mod_timer(timer, jiffies - 1);
}

static struct timer_list endless_timer;

static int timers(void)
{
	timer_setup(&endless_timer, rearm, 0);
	mod_timer(&endless_timer, jiffies);
	return 0;
}

static enum hrtimer_restart restart(struct hrtimer *timer)
{
	return HRTIMER_RESTART;
}

static struct hrtimer endless_hrtimer;

static int hrtimers(void)
{
	hrtimer_init(&endless_hrtimer, CLOCK_MONOTONIC, HRTIMER_MODE_REL);
	endless_hrtimer.function = restart;
	hrtimer_start(&endless_hrtimer, 1, HRTIMER_MODE_REL);
	return 0;
}

/* --- memory --------------------------------------------------------------------------------------- */

static int eat_kmalloc(void)
{
	while (kmalloc(8192, GFP_KERNEL | __GFP_NOWARN))
		;
	while (kmalloc(64, GFP_KERNEL | __GFP_NOWARN))
		;
	return 0;
}

static int eat_pages(void)
{
	while (__get_free_pages(GFP_KERNEL | __GFP_NOWARN, MAX_ORDER - 1))
		;
	while (__get_free_page(GFP_KERNEL | __GFP_NOWARN))
		;
	return 0;
}

static int eat_vmalloc(void)
{
	while (vmalloc(1 << 20))
		;
	while (vmalloc(1))
		;
	return 0;
}

static int eat_everything(void)
{
	eat_vmalloc();
	eat_kmalloc();
	return eat_pages();
}

static int too_large(void)
{
	unsigned long size = ~0UL >> 1;
	void *got;

	while (size > 1UL << 30) {
		got = vmalloc(size);
		if (got)
			return -EEXIST;
		got = kvmalloc(size, GFP_KERNEL | __GFP_NOWARN);
		if (got)
			return -EEXIST;
		got = kmalloc(size, GFP_KERNEL | __GFP_NOWARN);
		if (!ZERO_OR_NULL_PTR(got))
			return -EEXIST;
		size >>= 1;
	}
	return kmalloc_array(~0UL, 16, GFP_KERNEL) ? -EEXIST : -ENOMEM;
}

static int eat_indexes(void)
{
	static DEFINE_XARRAY(stores);
	unsigned long index;
	int rc;

	for (index = 0;; index += 64) {
		rc = xa_err(xa_store(&stores, index, xa_mk_value(1), GFP_KERNEL));
		if (rc)
			return rc;
	}
}

static int eat_ids(void)
{
	static DEFINE_IDA(ids);
	int id;

	do
		id = ida_alloc(&ids, GFP_KERNEL);
	while (id >= 0);
	return id;
}

/* --- text ------------------------------------------------------------------------------------------ */

static int flood(void)
{
	for (;;)
		pr_info("flood\n");
	return 0;
}

static int warn_flood(void)
{
	for (;;)
		WARN_ON(1);
	return 0;
}

#define _noformat(...) ((int (*)(const char *, ...))_printk)(__VA_ARGS__)

static int formats(void)
{
	char small[8], *page = (char *)get_zeroed_page(GFP_KERNEL);
	long number = 7;
	int i;

	_noformat("n: %n %ln %hhn.\n", &number, &number, &number);
	_noformat("width: %2147483647d.\n", 1);
	_noformat("star: %*d %*d.\n", INT_MAX, 1, INT_MIN, 1);
	_noformat("precision: %.2147483647s.\n", "text");
	for (i = 0; i < 4000; i += 6)
		memcpy(page + i, "%8388", 5), page[i + 5] = 'd';
	_noformat(page, 1, 2, 3);
	memset(page, '%', 4095);
	_noformat(page);
	_noformat("wild: %s.\n", (char *)0xdead000000000000);
	_noformat("wild: %pS %pV %pI6c %pUl %pD %pK %pe %*ph %pt\n", 1, 2, 3, 4, 5, 6, 7, 64, 8, 9);
	_noformat("long: %*ph\n", INT_MAX, page);
	_noformat("bits: %*pbl\n", INT_MAX, page);
	_noformat("end: %");
	_noformat("\n");
	_noformat("modifiers: %llllld %zzd %hhhhd %-+ #0999999999x\n", 1, 2, 3, 4);
	snprintf(small, sizeof(small), "%*s", INT_MAX, "x");
	snprintf(NULL, 0, "%*s", 1 << 22, "x");
	return -ECANCELED;
}

static int format_recursion(void)
{
	struct va_format vaf;
	va_list *args = (va_list *)&vaf;

	vaf.fmt = "%pV %pV";
	vaf.va = args;
	_noformat("%pV\n", &vaf);
	return -ECANCELED;
}

static noinline void through(const char *fmt, ...)
{
	static struct va_format vaf;
	va_list args;

	va_start(args, fmt);
	vaf.fmt = fmt;
	vaf.va = &args;
	_noformat("%pV", &vaf);
	va_end(args);
}

static int format_deep(void)
{
	static struct va_format inner;
	static va_list none;
	static const char *text = "%pV%pV%pV%pV";
	struct va_format **arguments = kmalloc_array(64, sizeof(*arguments), GFP_KERNEL);
	int i;

	for (i = 0; i < 64; i++)
		arguments[i] = &inner;
	none[0].gp_offset = 48;
	none[0].overflow_arg_area = arguments;
	inner.fmt = text;
	inner.va = &none;
	through("%pV%pV\n", &inner, &inner);
	return -ECANCELED;
}

static const struct proc_ops no_operations;

static int escapes(void)
{
	struct task_struct *task;

	pr_info("\033]0;title\007\033[2J\033[31mred\r\b\x9b" "31m\u202e\n");
	task = kthread_create(idle_thread, NULL, "\033[31mred\n");
	proc_create("\033[31mproc", 0444, NULL, &no_operations);
	WARN(1, "\033[2Jwarned\n");
	panic("\033]0;panic\007");
	return 0;
}

/* --- what belongs to the kernel -------------------------------------------------------------------- */

static void without_write_protection(void)
{
	unsigned long cr0;

	asm volatile("mov %%cr0, %0" : "=r"(cr0));
	asm volatile("mov %0, %%cr0" : : "r"(cr0 & ~(1UL << 16)));
}

static int write_at(void)
{
	*(volatile unsigned long *)at = 0xcccccccccccccccc;
	return 0;
}

static int overwrite_at(void)
{
	unsigned long i;

	without_write_protection();
	for (i = 0; i < 1 << 16; i += 8)
		((volatile unsigned long *)at)[i / 8] = 0xcccccccccccccccc;
	return 0;
}

static noinline int forty_two(void)
{
	return 42;
}

static int self_modifying(void)
{
	volatile unsigned char *code = (void *)forty_two;
	int i;

	for (i = 0; i < 16; i++)
		if (code[i] == 42)
			code[i] = 43;
	return forty_two();
}

static int self_modifying_unprotected(void)
{
	without_write_protection();
	return -self_modifying();
}

static int jump_to(void)
{
	return ((int (*)(long, long, long))at)(at, at, at);
}

static int all_ports(void)
{
	unsigned int port, value, answer;

	for (port = 0; port < 0x10000; port += 0x101)
		for (value = 0; value < 3; value++) {
			asm volatile("outl %0, %w1" : : "a"(value), "d"(port));
			asm volatile("inl %w1, %0" : "=a"(answer) : "d"(port));
		}
	return -ECANCELED;
}

/* Every trap by its number, with whatever lies on the argument page: `at` is the page, and the port. */
static unsigned int port = 0;
module_param(port, uint, 0);
static unsigned int number = 0;
module_param(number, uint, 0);

static int forged_trap(void)
{
	unsigned long i;

	for (i = 0; i < 256; i += 8)
		*(volatile unsigned long *)(at + i) = i & 8 ? 0x4141414141414141 : (unsigned long)&sink;
	asm volatile("outl %0, %w1" : : "a"(number), "d"(port) : "memory");
	asm volatile("jmp 1f; 1:");
	return -ECANCELED;
}

static int privileged(void)
{
	unsigned long table[2] = { 0, 0 };

	asm volatile("lidt %0" : : "m"(table));
	asm volatile("lgdt %0" : : "m"(table));
	asm volatile("mov %0, %%cr3" : : "r"(0x1000UL));
	asm volatile("mov %0, %%cr4" : : "r"(0UL));
	asm volatile("wrmsr" : : "c"(0xc0000101), "a"(0), "d"(0));
	asm volatile("int3");
	asm volatile("int $0x80");
	asm volatile("int $0x20");
	return -ECANCELED;
}

static int without_paging(void)
{
	asm volatile("mov %0, %%cr0" : : "r"(0UL));
	return -ECANCELED;
}

static int no_stack(void)
{
	asm volatile("mov $8, %rsp; push %rax; ret");
	return -ECANCELED;
}

static int return_to_users(void)
{
	asm volatile("mov %0, %%rcx; mov $2, %%r11; sysretq" : : "r"(at) : "rcx", "r11");
	return -ECANCELED;
}

/* --- what Python reads of the kernel's -------------------------------------------------------------- */

static int module_list_cycle(void)
{
	THIS_MODULE->list.next = &THIS_MODULE->list;
	return 0;
}

static int module_list_wild(void)
{
	THIS_MODULE->list.next = (void *)0x4141414141414141;
	return 0;
}

static int forged_module(void)
{
	unsigned long own[2] = { (unsigned long)THIS_MODULE->list.next, (unsigned long)THIS_MODULE->list.prev };

	memset((char *)THIS_MODULE, 0xff, sizeof(*THIS_MODULE));
	THIS_MODULE->list.next = (void *)own[0];
	THIS_MODULE->list.prev = (void *)own[1];
	return 0;
}

static int forged_module_zero(void)
{
	memset((char *)THIS_MODULE + 24, 0, sizeof(*THIS_MODULE) - 24);
	return 0;
}

static int task_list_cycle(void)
{
	current->tasks.next = &current->tasks;
	current->children.next = &current->sibling;
	current->sibling.next = &current->sibling;
	return 0;
}

static int forged_task(void)
{
	memset((char *)current + 64, 0xff, sizeof(*current) - 64);
	return 0;
}

static int forged_cred(void)
{
	*(unsigned long *)&current->cred = 0x4141414141414141;
	*(unsigned long *)&current->real_cred = 1;
	return 0;
}

static int wrong_current(void)
{
	this_cpu_write(current_task, (struct task_struct *)0x4141414141414140);
	return 0;
}

static int all_data(void)
{
	unsigned long i;

	for (i = 0; i < 4UL << 20; i += 8)
		*(volatile unsigned long *)(at + i) = 0x4141414141414141;
	return 0;
}

/* --- files ----------------------------------------------------------------------------------------- */

static const struct file_operations nothing = { .owner = NULL };

static int eat_descriptors(void)
{
	int fd;

	do
		fd = anon_inode_getfd("attacks", &nothing, NULL, O_RDWR);
	while (fd >= 0);
	return fd;
}

static int eat_files(void)
{
	struct file *file;

	do
		file = filp_open("/dev/null", O_RDONLY, 0);
	while (!IS_ERR(file));
	return PTR_ERR(file);
}

static void *endless_start(struct seq_file *m, loff_t *pos)
{
	return pos;
}

static void *endless_next(struct seq_file *m, void *v, loff_t *pos)
{
	++*pos;
	return pos;
}

static void endless_stop(struct seq_file *m, void *v)
{
}

static int endless_show(struct seq_file *m, void *v)
{
	seq_puts(m, "an endless file\n");
	return 0;
}

static const struct seq_operations endless = {
	.start = endless_start,
	.next = endless_next,
	.stop = endless_stop,
	.show = endless_show,
};

static int endless_file(void)
{
	return proc_create_seq("endless", 0444, NULL, &endless) ? 0 : -ENOMEM;
}

static int giant_show(struct seq_file *m, void *v)
{
	int i;

	for (i = 0; i < 1 << 28; i++)
		seq_puts(m, "0123456789abcdef");
	return 0;
}

static int giant_file(void)
{
	return proc_create_single("giant", 0444, NULL, giant_show) ? 0 : -ENOMEM;
}

static ssize_t lying_read(struct file *file, char __user *to, size_t count, loff_t *pos)
{
	return LONG_MAX;
}

static const struct proc_ops lying = { .proc_read = lying_read };

static int lying_file(void)
{
	return proc_create("lying", 0444, NULL, &lying) ? 0 : -ENOMEM;
}

static int uevents(void)
{
	struct kobject *kobj = kobject_create_and_add("attacks", NULL);
	char *envp[] = { "A=\033[31m", NULL };

	for (;;)
		kobject_uevent_env(kobj, KOBJ_CHANGE, envp);
	return 0;
}

static int many_files(void)
{
	char name[16];
	unsigned int i;

	for (i = 0;; i++) {
		snprintf(name, sizeof(name), "attack%u", i);
		if (!proc_create(name, 0444, NULL, &lying))
			return -ENOMEM;
	}
}

static int outside(void)
{
	struct file *file = filp_open(path, O_RDONLY, 0);
	char *argv[] = { "/bin/touch", path, NULL }, *envp[] = { NULL };

	if (!IS_ERR(file))
		return -EEXIST;
	file = filp_open(path, O_CREAT | O_RDWR, 0644);
	if (!IS_ERR(file))
		filp_close(file, NULL);
	proc_create(path, 0444, NULL, &lying);
	call_usermodehelper(argv[0], argv, envp, UMH_WAIT_PROC);
	request_module("%s; touch %s", path, path);
	return -ECANCELED;
}

static int request_itself(void)
{
	return request_module("attacks");
}

/* --- */

#define ATTACK(name) { #name, name }

static const struct {
	const char *name;
	int (*run)(void);
} attacks[] = {
	ATTACK(loop), ATTACK(loop_without_interrupts), ATTACK(loop_delay), ATTACK(loop_schedule),
	ATTACK(loop_resched), ATTACK(loop_sleep), ATTACK(loop_construct), ATTACK(recurse), ATTACK(halted),
	ATTACK(fork_bomb), ATTACK(sleeping_threads), ATTACK(ping_pong), ATTACK(tasklets), ATTACK(works),
	ATTACK(timers), ATTACK(hrtimers),
	ATTACK(eat_kmalloc), ATTACK(eat_pages), ATTACK(eat_vmalloc), ATTACK(eat_everything),
	ATTACK(too_large), ATTACK(eat_indexes), ATTACK(eat_ids),
	ATTACK(flood), ATTACK(warn_flood), ATTACK(formats), ATTACK(format_recursion), ATTACK(format_deep),
	ATTACK(escapes),
	ATTACK(write_at), ATTACK(overwrite_at), ATTACK(self_modifying), ATTACK(self_modifying_unprotected),
	ATTACK(jump_to), ATTACK(all_ports), ATTACK(forged_trap), ATTACK(privileged), ATTACK(without_paging),
	ATTACK(no_stack), ATTACK(return_to_users),
	ATTACK(module_list_cycle), ATTACK(module_list_wild), ATTACK(forged_module), ATTACK(forged_module_zero),
	ATTACK(task_list_cycle), ATTACK(forged_task), ATTACK(forged_cred), ATTACK(wrong_current),
	ATTACK(all_data),
	ATTACK(eat_descriptors), ATTACK(eat_files), ATTACK(endless_file), ATTACK(giant_file),
	ATTACK(lying_file), ATTACK(uevents), ATTACK(many_files), ATTACK(outside), ATTACK(request_itself),
};

static int __init attacks_init(void)
{
	int i;

	for (i = 0; i < ARRAY_SIZE(attacks); i++)
		if (!strcmp(attack, attacks[i].name))
			return attacks[i].run();
	return -EINVAL;
}

static void __exit attacks_exit(void)
{
	if (!strcmp(attack, "exit"))
		loop();
}

module_init(attacks_init);
module_exit(attacks_exit);
MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("\033[31mWhat a hostile module does\033[0m");
MODULE_AUTHOR("\033]0;kmod-emu\007");
