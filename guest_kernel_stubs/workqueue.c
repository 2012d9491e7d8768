/* Work queues: the workers' loop, and waiting for work (kernel/workqueue.c). */
#include "sched.h"

/* A worker looks for work with its state set, so that work which comes meanwhile wakes it. */
INTERNAL int worker_thread(void *unused);
int worker_thread(void *unused)
{
	(void)unused;
	for (;;) {
		struct work_struct *work;

		set_current_state(TASK_IDLE);
		work = import_worker_next();
		if (!work) {
			import_schedule();
			continue;
		}
		set_current_state(TASK_RUNNING);
		work->func(work);
		import_worker_done();
	}
}

static void wait_until_finished(u64 ticket)
{
	for (;;) {
		set_current_state(TASK_UNINTERRUPTIBLE);
		if (import_work_finished(ticket))
			break;
		import_schedule();
	}
	set_current_state(TASK_RUNNING);
}

bool flush_work(struct work_struct *work)
{
	u64 ticket = import_work_ticket(work);

	if (ticket)
		wait_until_finished(ticket);
	return ticket != 0;
}

bool flush_delayed_work(struct delayed_work *work)
{
	if (import_del_timer_sync(&work->timer)) {
		work->work.data &= ~1ul;
		import_queue_work_on(0, work->wq, &work->work);
	}
	return flush_work(&work->work);
}

/* While it is being cancelled, work cannot be queued. */
bool cancel_work_sync(struct work_struct *work)
{
	bool was_pending = import_work_grab(work);
	u64 ticket = import_work_ticket(work);

	if (ticket)
		wait_until_finished(ticket);
	import_work_release(work);
	return was_pending;
}

bool cancel_work(struct work_struct *work)
{
	bool was_pending = import_work_grab(work);

	import_work_release(work);
	return was_pending;
}

bool cancel_delayed_work(struct delayed_work *work)
{
	bool was_armed = import_del_timer_sync(&work->timer);

	return cancel_work(&work->work) || was_armed;
}

bool cancel_delayed_work_sync(struct delayed_work *work)
{
	bool was_armed = import_del_timer_sync(&work->timer);

	return cancel_work_sync(&work->work) || was_armed;
}

void __flush_workqueue(void *wq)
{
	u64 ticket = import_workqueue_ticket(wq);

	for (;;) {
		set_current_state(TASK_UNINTERRUPTIBLE);
		if (import_workqueue_finished(wq, ticket))
			break;
		import_schedule();
	}
	set_current_state(TASK_RUNNING);
}

void flush_workqueue(void *wq) { __flush_workqueue(wq); }

/* Work that queues itself again is waited for as well. */
void drain_workqueue(void *wq)
{
	for (;;) {
		set_current_state(TASK_UNINTERRUPTIBLE);
		if (import_workqueue_finished(wq, ~0ull))
			break;
		import_schedule();
	}
	set_current_state(TASK_RUNNING);
}

void destroy_workqueue(void *wq)
{
	drain_workqueue(wq);
	import_workqueue_free(wq);
}

/* --- work behind a grace period --- */

struct rcu_work { struct work_struct work; struct rcu_head rcu; void *wq; };

void rcu_barrier(void);

static void rcu_work_rcufn(struct rcu_head *head)
{
	struct rcu_work *rwork = container_of(head, struct rcu_work, rcu);

	rwork->work.data &= ~1ul;
	import_queue_work_on(0, rwork->wq, &rwork->work);
}

bool queue_rcu_work(void *wq, struct rcu_work *rwork)
{
	if (rwork->work.data & 1)
		return false;
	rwork->work.data |= 1;
	rwork->wq = wq;
	import_call_rcu(&rwork->rcu, rcu_work_rcufn);
	return true;
}

bool flush_rcu_work(struct rcu_work *rwork)
{
	if (!(rwork->work.data & 1))
		return flush_work(&rwork->work);
	rcu_barrier();
	flush_work(&rwork->work);
	return true;
}
