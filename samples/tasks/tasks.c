// SPDX-License-Identifier: GPL-2.0-only
/* Who runs: current, the list of all processes, parents and children, and the way from a pid to a task. */
#include <linux/init.h>
#include <linux/kernel.h>
#include <linux/module.h>
#include <linux/pid.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>
#include <linux/sched/task.h>

static int __init tasks_init(void)
{
	struct task_struct *task, *thread;
	struct list_head *entry;
	struct pid *pid;
	char comm[TASK_COMM_LEN];
	int processes = 0, threads = 0;

	pr_info("tasks: this is %s, child of %s, child of %s\n", current->comm, current->real_parent->comm,
		current->real_parent->real_parent->comm);
	rcu_read_lock();
	for_each_process(task) {
		if (task->pid < 3)
			pr_info("tasks: %s has pid %d, %s user memory\n", get_task_comm(comm, task), task_pid_nr(task),
				task->flags & PF_KTHREAD ? "no" : "its own");
		processes++;
		for_each_thread(task, thread)
			threads++;
	}
	pr_info("tasks: as many threads as processes: %d\n", processes == threads);
	list_for_each(entry, &init_task.children) {
		task = list_entry(entry, struct task_struct, sibling);
		pr_info("tasks: %s is a child of %s\n", task->comm, init_task.comm);
	}
	pid = find_vpid(current->pid);
	pr_info("tasks: pid_task(find_vpid(n)) is current: %d, the number again: %d\n",
		pid_task(pid, PIDTYPE_PID) == current, pid_nr(pid) == current->pid);
	pr_info("tasks: nobody has pid 4000000: %d\n", !find_vpid(4000000));
	rcu_read_unlock();
	task = get_pid_task(pid, PIDTYPE_PID);
	pr_info("tasks: references: %d\n", refcount_read(&task->usage));
	put_task_struct(task);
	return 0;
}

static void __exit tasks_exit(void)
{
}

module_init(tasks_init);
module_exit(tasks_exit);

MODULE_AUTHOR("kmod-emu");
MODULE_DESCRIPTION("Tasks and pids");
MODULE_LICENSE("GPL");
