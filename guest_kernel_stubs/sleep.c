/* Sleeping for a time (kernel/time/timer.c, sleep_timeout.c). */
#include "sched.h"

/* What cond_resched() calls: its static call leads here. */
INTERNAL int offer_processor(void)
{
	return import___cond_resched();
}

struct process_timer { struct timer_list timer; struct task_struct *task; };

static void process_timeout(struct timer_list *timer)
{
	import_try_to_wake_up(container_of(timer, struct process_timer, timer)->task, TASK_NORMAL);
}

/* The caller has set the task's state. Returns the jiffies that are left. */
long schedule_timeout(long timeout)
{
	struct process_timer timer = { .timer = { .function = process_timeout }, .task = current };

	if (timeout == MAX_SCHEDULE_TIMEOUT) {
		import_schedule();
		return timeout;
	}
	if (timeout < 0) {
		import__printk(KERN_ERR "schedule_timeout: wrong timeout value %lx\n", timeout);
		import_dump_stack();
		set_current_state(TASK_RUNNING);
		return 0;
	}
	timeout += jiffies;
	timer.timer.expires = timeout;
	import_add_timer(&timer.timer);
	import_schedule();
	import_del_timer_sync(&timer.timer);
	timeout -= jiffies;
	return timeout < 0 ? 0 : timeout;
}

static long timeout_in(uint state, long timeout)
{
	set_current_state(state);
	return schedule_timeout(timeout);
}

long schedule_timeout_interruptible(long timeout) { return timeout_in(TASK_INTERRUPTIBLE, timeout); }
long schedule_timeout_killable(long timeout) { return timeout_in(TASK_KILLABLE, timeout); }
long schedule_timeout_uninterruptible(long timeout) { return timeout_in(TASK_UNINTERRUPTIBLE, timeout); }
long schedule_timeout_idle(long timeout) { return timeout_in(TASK_IDLE, timeout); }

void io_schedule(void) { import_schedule(); }
long io_schedule_timeout(long timeout) { return schedule_timeout(timeout); }

void msleep(uint msecs)
{
	long timeout = __msecs_to_jiffies(msecs) + 1;

	while (timeout)
		timeout = schedule_timeout_uninterruptible(timeout);
}

ulong msleep_interruptible(uint msecs)
{
	long timeout = __msecs_to_jiffies(msecs) + 1;

	while (timeout && !signal_pending(current))
		timeout = schedule_timeout_interruptible(timeout);
	return jiffies_to_msecs(timeout);
}

enum { HRTIMER_MODE_REL = 1 };

/* A sleeper's timer fires at the end of its range, where nothing else interrupts. */
static int sleep_until(s64 time)
{
	u64 ticket = import_wake_up_at(time);

	import_schedule();
	return import_wake_up_cancel(ticket) ? -EINTR : 0;
}

/* The caller has set the task's state. 0 when the time is over, -EINTR when woken before. */
int schedule_hrtimeout_range(s64 *expires, u64 delta, int mode)
{
	s64 now = import_ktime_get();

	if (!expires) {
		import_schedule();
		return -EINTR;
	}
	if (*expires == 0) {
		set_current_state(TASK_RUNNING);
		return 0;
	}
	return sleep_until(ktime_add_safe((mode & HRTIMER_MODE_REL ? now : 0) + *expires, delta));
}

int schedule_hrtimeout(s64 *expires, int mode) { return schedule_hrtimeout_range(expires, 0, mode); }

void usleep_range_state(ulong min, ulong max, uint state)
{
	s64 end = import_ktime_get() + (s64)max * 1000;

	(void)min;
	do
		set_current_state(state);
	while (sleep_until(end));
}

void usleep_range(ulong min, ulong max) { usleep_range_state(min, max, TASK_UNINTERRUPTIBLE); }
