/* Completions (kernel/sched/completion.c): a count of things done, UINT_MAX for ever after complete_all(). */
#include "sched.h"

#define FOR_EVER (~0u)

void complete(struct completion *x)
{
	ulong flags = irq_save();

	if (x->done != FOR_EVER)
		x->done++;
	swake_up_locked(&x->wait);
	irq_restore(flags);
}

void complete_all(struct completion *x)
{
	ulong flags = irq_save();

	x->done = FOR_EVER;
	while (!list_empty(&x->wait.task_list))
		swake_up_locked(&x->wait);
	irq_restore(flags);
}

/* Jiffies left, at least 1; 0 when the time is over; -ERESTARTSYS for a signal. */
static long wait_for(struct completion *x, long timeout, uint state, long (*sleep)(long timeout))
{
	struct swait_queue wait = { current, { &wait.task_list, &wait.task_list } };
	ulong flags = irq_save();

	while (!x->done && timeout) {
		if (signal_pending_state(state, current)) {
			timeout = -ERESTARTSYS;
			break;
		}
		if (list_empty(&wait.task_list))
			list_add_tail(&wait.task_list, &x->wait.task_list);
		set_current_state(state);
		irq_restore(flags);
		timeout = sleep(timeout);
		flags = irq_save();
	}
	set_current_state(TASK_RUNNING);
	list_del_init(&wait.task_list);
	if (x->done && timeout != -ERESTARTSYS) {
		if (x->done != FOR_EVER)
			x->done--;
		timeout = timeout ? timeout : 1;
	}
	irq_restore(flags);
	return timeout;
}

static int no_timeout(long result) { return result == -ERESTARTSYS ? -ERESTARTSYS : 0; }

void wait_for_completion(struct completion *x)
{
	wait_for(x, MAX_SCHEDULE_TIMEOUT, TASK_UNINTERRUPTIBLE, schedule_timeout);
}

ulong wait_for_completion_timeout(struct completion *x, ulong timeout)
{
	return wait_for(x, timeout, TASK_UNINTERRUPTIBLE, schedule_timeout);
}

void wait_for_completion_io(struct completion *x)
{
	wait_for(x, MAX_SCHEDULE_TIMEOUT, TASK_UNINTERRUPTIBLE, io_schedule_timeout);
}

ulong wait_for_completion_io_timeout(struct completion *x, ulong timeout)
{
	return wait_for(x, timeout, TASK_UNINTERRUPTIBLE, io_schedule_timeout);
}

int wait_for_completion_interruptible(struct completion *x)
{
	return no_timeout(wait_for(x, MAX_SCHEDULE_TIMEOUT, TASK_INTERRUPTIBLE, schedule_timeout));
}

long wait_for_completion_interruptible_timeout(struct completion *x, ulong timeout)
{
	return wait_for(x, timeout, TASK_INTERRUPTIBLE, schedule_timeout);
}

int wait_for_completion_killable(struct completion *x)
{
	return no_timeout(wait_for(x, MAX_SCHEDULE_TIMEOUT, TASK_KILLABLE, schedule_timeout));
}

long wait_for_completion_killable_timeout(struct completion *x, ulong timeout)
{
	return wait_for(x, timeout, TASK_KILLABLE, schedule_timeout);
}

int wait_for_completion_state(struct completion *x, uint state)
{
	return no_timeout(wait_for(x, MAX_SCHEDULE_TIMEOUT, state, schedule_timeout));
}

bool try_wait_for_completion(struct completion *x)
{
	ulong flags = irq_save();
	bool done = x->done;

	if (done && x->done != FOR_EVER)
		x->done--;
	irq_restore(flags);
	return done;
}

bool completion_done(struct completion *x) { return x->done; }
