/* Threads that run queued work, one piece after another (kernel/kthread.c: kthread_worker). */
#include "sched.h"

enum { KTW_FREEZABLE = 1 };

struct kthread_work;
struct kthread_worker {
	uint flags;
	spinlock_t lock;
	struct list_head work_list, delayed_work_list;
	struct task_struct *task;
	struct kthread_work *current_work;
};
struct kthread_work {
	struct list_head node;
	void (*func)(struct kthread_work *work);
	struct kthread_worker *worker;
	int canceling;
};
struct kthread_delayed_work { struct kthread_work work; struct timer_list timer; };
struct flush { struct kthread_work work; struct completion done; };

int kthread_stop(struct task_struct *k);

void __kthread_init_worker(struct kthread_worker *worker, const char *name, void *key)
{
	(void)name, (void)key;
	worker->flags = 0;
	worker->lock.value = 0;
	list_init(&worker->work_list);
	list_init(&worker->delayed_work_list);
	worker->task = NULL;
	worker->current_work = NULL;
}

/* A worker looks for work with its state set, so that work which comes meanwhile wakes it. */
int kthread_worker_fn(void *pointer)
{
	struct kthread_worker *worker = pointer;

	worker->task = current;
	for (;;) {
		struct kthread_work *work = NULL;
		ulong flags;

		set_current_state(TASK_INTERRUPTIBLE);
		if (import_kthread_should_stop())
			break;
		flags = irq_save();
		if (!list_empty(&worker->work_list)) {
			work = container_of(worker->work_list.next, struct kthread_work, node);
			list_del_init(&work->node);
		}
		worker->current_work = work;
		irq_restore(flags);
		if (work) {
			set_current_state(TASK_RUNNING);
			work->func(work);
			worker->current_work = NULL;
		} else {
			import_schedule();
		}
	}
	set_current_state(TASK_RUNNING);
	worker->task = NULL;
	return 0;
}

static bool pending(struct kthread_work *work) { return !list_empty(&work->node) || work->canceling; }

static void insert(struct kthread_worker *worker, struct kthread_work *work, struct list_head *before)
{
	list_add_tail(&work->node, before);
	work->worker = worker;
	if (!worker->current_work && worker->task)
		import_try_to_wake_up(worker->task, TASK_NORMAL);
}

bool kthread_queue_work(struct kthread_worker *worker, struct kthread_work *work)
{
	ulong flags = irq_save();
	bool queued = !pending(work);

	if (queued)
		insert(worker, work, &worker->work_list);
	irq_restore(flags);
	return queued;
}

void kthread_delayed_work_timer_fn(struct timer_list *timer)
{
	struct kthread_delayed_work *dwork = container_of(timer, struct kthread_delayed_work, timer);
	struct kthread_work *work = &dwork->work;
	ulong flags = irq_save();

	list_del_init(&work->node);
	if (!work->canceling)
		insert(work->worker, work, &work->worker->work_list);
	irq_restore(flags);
}

static void arm(struct kthread_worker *worker, struct kthread_delayed_work *dwork, ulong delay)
{
	if (!delay) {
		insert(worker, &dwork->work, &worker->work_list);
		return;
	}
	list_add(&dwork->work.node, &worker->delayed_work_list);
	dwork->work.worker = worker;
	dwork->timer.expires = jiffies + delay;
	import_add_timer(&dwork->timer);
}

bool kthread_queue_delayed_work(struct kthread_worker *worker, struct kthread_delayed_work *dwork, ulong delay)
{
	ulong flags = irq_save();
	bool queued = !pending(&dwork->work);

	if (queued)
		arm(worker, dwork, delay);
	irq_restore(flags);
	return queued;
}

bool kthread_mod_delayed_work(struct kthread_worker *worker, struct kthread_delayed_work *dwork, ulong delay)
{
	bool was_pending;
	ulong flags;

	import_del_timer_sync(&dwork->timer);
	flags = irq_save();
	was_pending = !list_empty(&dwork->work.node);
	if (was_pending)
		list_del_init(&dwork->work.node);
	if (!dwork->work.canceling)
		arm(worker, dwork, delay);
	irq_restore(flags);
	return was_pending;
}

static void flushed(struct kthread_work *work) { complete(&container_of(work, struct flush, work)->done); }

static void init_flush(struct flush *flush)
{
	list_init(&flush->work.node);
	flush->work.func = flushed;
	flush->work.worker = NULL;
	flush->work.canceling = 0;
	flush->done.done = 0;
	__init_swait_queue_head(&flush->done.wait, "", NULL);
}

/* Work of the caller's own behind it tells when it is done. */
void kthread_flush_work(struct kthread_work *work)
{
	struct kthread_worker *worker = work->worker;
	struct flush flush;
	ulong flags;
	bool busy = true;

	if (!worker)
		return;
	init_flush(&flush);
	flags = irq_save();
	if (!list_empty(&work->node))
		insert(worker, &flush.work, work->node.next);
	else if (worker->current_work == work)
		insert(worker, &flush.work, worker->work_list.next);
	else
		busy = false;
	irq_restore(flags);
	if (busy)
		wait_for_completion(&flush.done);
}

void kthread_flush_worker(struct kthread_worker *worker)
{
	struct flush flush;

	init_flush(&flush);
	kthread_queue_work(worker, &flush.work);
	wait_for_completion(&flush.done);
}

/* While it is being cancelled, work cannot be queued. */
bool kthread_cancel_work_sync(struct kthread_work *work)
{
	ulong flags = irq_save();
	bool was_pending = !list_empty(&work->node);

	if (was_pending)
		list_del_init(&work->node);
	if (work->worker && work->worker->current_work == work) {
		work->canceling++;
		irq_restore(flags);
		kthread_flush_work(work);
		flags = irq_save();
		work->canceling--;
	}
	irq_restore(flags);
	return was_pending;
}

bool kthread_cancel_delayed_work_sync(struct kthread_delayed_work *dwork)
{
	if (dwork->work.worker)
		import_del_timer_sync(&dwork->timer);
	return kthread_cancel_work_sync(&dwork->work);
}

void kthread_destroy_worker(struct kthread_worker *worker)
{
	if (!worker->task)
		return;
	kthread_flush_worker(worker);
	kthread_stop(worker->task);
	import_kfree(worker);
}
