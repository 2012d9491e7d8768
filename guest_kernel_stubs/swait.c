/* Simple wait queues: one waiter is one task, woken in order (kernel/sched/swait.c). */
#include "sched.h"

void __init_swait_queue_head(struct swait_queue_head *queue, const char *name, void *key)
{
	(void)name, (void)key;
	queue->lock.value = 0;
	list_init(&queue->task_list);
}

void swake_up_locked(struct swait_queue_head *queue)
{
	struct swait_queue *first;

	if (list_empty(&queue->task_list))
		return;
	first = container_of(queue->task_list.next, struct swait_queue, task_list);
	import_try_to_wake_up(first->task, TASK_NORMAL);
	list_del_init(&first->task_list);
}

void swake_up_one(struct swait_queue_head *queue)
{
	ulong flags = irq_save();

	swake_up_locked(queue);
	irq_restore(flags);
}

void swake_up_all(struct swait_queue_head *queue)
{
	ulong flags = irq_save();

	while (!list_empty(&queue->task_list)) {
		struct swait_queue *first = container_of(queue->task_list.next, struct swait_queue, task_list);

		import_try_to_wake_up(first->task, TASK_NORMAL);
		list_del_init(&first->task_list);
	}
	irq_restore(flags);
}

static void join(struct swait_queue_head *queue, struct swait_queue *wait)
{
	wait->task = current;
	if (list_empty(&wait->task_list))
		list_add_tail(&wait->task_list, &queue->task_list);
}

void prepare_to_swait_exclusive(struct swait_queue_head *queue, struct swait_queue *wait, int state)
{
	ulong flags = irq_save();

	join(queue, wait);
	set_current_state(state);
	irq_restore(flags);
}

long prepare_to_swait_event(struct swait_queue_head *queue, struct swait_queue *wait, int state)
{
	ulong flags = irq_save();
	long result = 0;

	if (signal_pending_state(state, current)) {
		list_del_init(&wait->task_list);
		result = -ERESTARTSYS;
	} else {
		join(queue, wait);
		set_current_state(state);
	}
	irq_restore(flags);
	return result;
}

void finish_swait(struct swait_queue_head *queue, struct swait_queue *wait)
{
	ulong flags = irq_save();

	(void)queue;
	set_current_state(TASK_RUNNING);
	if (!list_empty(&wait->task_list))
		list_del_init(&wait->task_list);
	irq_restore(flags);
}
