/* Kernel threads: their frame, and waiting for them (kernel/kthread.c). */
#include "sched.h"

enum { ASK_STOP = 1, ASK_PARK = 2, IS_PARKED = 4, HAS_ENDED = 8 };

void __kthread_parkme(void);

/* Woken in this state: by whoever parks, or ends, or asks. */
static void wait_until(struct task_struct *k, int flags)
{
	for (;;) {
		set_current_state(TASK_UNINTERRUPTIBLE);
		if (import_kthread_has(k, flags))
			break;
		import_schedule();
	}
	set_current_state(TASK_RUNNING);
}

/* Where every thread begins, woken for the first time. */
INTERNAL void kthread(int (*threadfn)(void *data), void *data);
void kthread(int (*threadfn)(void *data), void *data)
{
	long result = -EINTR;

	if (!import_kthread_should_stop()) {
		__kthread_parkme();
		result = threadfn(data);
	}
	import_kthread_exit(result);
}

int kthread_stop(struct task_struct *k)
{
	u32 *usage = (u32 *)((char *)k + import_offset_usage);
	int result;

	import_kthread_ask(k, ASK_STOP, true);
	++*usage;
	import_kthread_ask(k, ASK_PARK, false);
	import_try_to_wake_up(k, TASK_PARKED | TASK_NORMAL);
	wait_until(k, HAS_ENDED);
	result = import_kthread_result(k);
	if (!--*usage)
		import___put_task_struct(k);
	return result;
}

int kthread_stop_put(struct task_struct *k)
{
	u32 *usage = (u32 *)((char *)k + import_offset_usage);
	int result = kthread_stop(k);

	if (!--*usage)
		import___put_task_struct(k);
	return result;
}

int kthread_park(struct task_struct *k)
{
	if (import_kthread_has(k, HAS_ENDED))
		return -ENOSYS;
	if (import_kthread_has(k, ASK_PARK))
		return -EBUSY;
	import_kthread_ask(k, ASK_PARK, true);
	if (k != current) {
		import_try_to_wake_up(k, TASK_NORMAL);
		wait_until(k, IS_PARKED | HAS_ENDED);
	}
	return 0;
}

void kthread_unpark(struct task_struct *k)
{
	import_kthread_ask(k, ASK_PARK, false);
	import_try_to_wake_up(k, TASK_PARKED);
}

void __kthread_parkme(void)
{
	while (import_kthread_should_park()) {
		set_current_state(TASK_PARKED);
		import_kthread_ask(current, IS_PARKED, true);
		import_schedule();
	}
	set_current_state(TASK_RUNNING);
}

void kthread_parkme(void)
{
	__kthread_parkme();
	import_kthread_ask(current, IS_PARKED, false);
}

void kthread_complete_and_exit(struct completion *done, long code)
{
	if (done)
		complete(done);
	import_kthread_exit(code);
}

/* The name until 5.17. */
void complete_and_exit(struct completion *done, long code) { kthread_complete_and_exit(done, code); }

/* A thread's last words: its module may go once it is off its code. */
void __module_put_and_kthread_exit(void *module, long code)
{
	import_module_put(module);
	import_kthread_exit(code);
}
