/* Wait queues (kernel/sched/wait.c). */
#include "sched.h"

enum {
	WQ_FLAG_EXCLUSIVE = 1, WQ_FLAG_WOKEN = 2, WQ_FLAG_BOOKMARK = 4, WQ_FLAG_DONE = 16, WQ_FLAG_PRIORITY = 32,
	WF_SYNC = 0x10,
};

void __init_waitqueue_head(struct wait_queue_head *head, const char *name, void *key)
{
	(void)name, (void)key;
	head->lock.value = 0;
	list_init(&head->head);
}

/* Exclusive waiters stand behind the others, priority ones before. */
static void enqueue(struct wait_queue_head *head, struct wait_queue_entry *entry)
{
	struct list_head *place = &head->head;

	for (struct list_head *next = place->next; next != &head->head; next = next->next) {
		if (!(container_of(next, struct wait_queue_entry, entry)->flags & WQ_FLAG_PRIORITY))
			break;
		place = next;
	}
	list_add(&entry->entry, place);
}

void add_wait_queue(struct wait_queue_head *head, struct wait_queue_entry *entry)
{
	ulong flags = irq_save();

	entry->flags &= ~WQ_FLAG_EXCLUSIVE;
	enqueue(head, entry);
	irq_restore(flags);
}

void add_wait_queue_exclusive(struct wait_queue_head *head, struct wait_queue_entry *entry)
{
	ulong flags = irq_save();

	entry->flags |= WQ_FLAG_EXCLUSIVE;
	list_add_tail(&entry->entry, &head->head);
	irq_restore(flags);
}

void add_wait_queue_priority(struct wait_queue_head *head, struct wait_queue_entry *entry)
{
	ulong flags = irq_save();

	entry->flags |= WQ_FLAG_EXCLUSIVE | WQ_FLAG_PRIORITY;
	enqueue(head, entry);
	irq_restore(flags);
}

void remove_wait_queue(struct wait_queue_head *head, struct wait_queue_entry *entry)
{
	ulong flags = irq_save();

	(void)head;
	entry->entry.next->prev = entry->entry.prev;
	entry->entry.prev->next = entry->entry.next;
	entry->entry.next = (void *)0xdead000000000100ul;
	entry->entry.prev = (void *)0xdead000000000122ul;
	irq_restore(flags);
}

/* All that are not exclusive are woken, and nr_exclusive of the others (0: all). The lock is held by the caller. */
static void wake_up_common(struct wait_queue_head *head, uint mode, int nr_exclusive, int wake_flags, void *key)
{
	struct list_head *next = head->head.next;

	while (next != &head->head) {
		struct wait_queue_entry *entry = container_of(next, struct wait_queue_entry, entry);
		u32 flags = entry->flags;
		int woken;

		next = next->next;
		if (flags & WQ_FLAG_BOOKMARK)
			continue;
		woken = entry->func(entry, mode, wake_flags, key);
		if (woken < 0 || (woken && (flags & WQ_FLAG_EXCLUSIVE) && !--nr_exclusive))
			break;
	}
}

static void wake_up_lock(struct wait_queue_head *head, uint mode, int nr_exclusive, int wake_flags, void *key)
{
	ulong flags = irq_save();

	wake_up_common(head, mode, nr_exclusive, wake_flags, key);
	irq_restore(flags);
}

void __wake_up(struct wait_queue_head *head, uint mode, int nr_exclusive, void *key)
{
	wake_up_lock(head, mode, nr_exclusive, 0, key);
}

void __wake_up_sync_key(struct wait_queue_head *head, uint mode, void *key)
{
	if (head)
		wake_up_lock(head, mode, 1, WF_SYNC, key);
}

void __wake_up_sync(struct wait_queue_head *head, uint mode) { __wake_up_sync_key(head, mode, NULL); }

void __wake_up_locked(struct wait_queue_head *head, uint mode, int nr) { wake_up_common(head, mode, nr, 0, NULL); }

void __wake_up_locked_key(struct wait_queue_head *head, uint mode, void *key) { wake_up_common(head, mode, 1, 0, key); }

void __wake_up_locked_sync_key(struct wait_queue_head *head, uint mode, void *key)
{
	wake_up_lock(head, mode, 1, WF_SYNC, key);
}

/* What poll, epoll and the like are told when the queue goes away. */
void __wake_up_pollfree(struct wait_queue_head *head)
{
	enum { EPOLLHUP = 0x10, POLLFREE = 0x4000 };

	__wake_up(head, TASK_NORMAL, 0, (void *)(ulong)(EPOLLHUP | POLLFREE));
}

int default_wake_function(struct wait_queue_entry *entry, uint mode, int flags, void *key)
{
	(void)flags, (void)key;
	return import_try_to_wake_up(entry->private, mode);
}

int autoremove_wake_function(struct wait_queue_entry *entry, uint mode, int flags, void *key)
{
	int woken = default_wake_function(entry, mode, flags, key);

	if (woken)
		list_del_init(&entry->entry);
	return woken;
}

void prepare_to_wait(struct wait_queue_head *head, struct wait_queue_entry *entry, int state)
{
	ulong flags = irq_save();

	entry->flags &= ~WQ_FLAG_EXCLUSIVE;
	if (list_empty(&entry->entry))
		enqueue(head, entry);
	set_current_state(state);
	irq_restore(flags);
}

/* Returns whether the caller is the only waiter. */
bool prepare_to_wait_exclusive(struct wait_queue_head *head, struct wait_queue_entry *entry, int state)
{
	ulong flags = irq_save();
	bool was_empty = true;

	entry->flags |= WQ_FLAG_EXCLUSIVE;
	if (list_empty(&entry->entry)) {
		was_empty = list_empty(&head->head);
		list_add_tail(&entry->entry, &head->head);
	}
	set_current_state(state);
	irq_restore(flags);
	return was_empty;
}

void init_wait_entry(struct wait_queue_entry *entry, int flags)
{
	entry->flags = flags;
	entry->private = current;
	entry->func = autoremove_wake_function;
	list_init(&entry->entry);
}

/* A signal takes the waiter off the queue: it may not swallow an exclusive wake-up. */
long prepare_to_wait_event(struct wait_queue_head *head, struct wait_queue_entry *entry, int state)
{
	ulong flags = irq_save();
	long result = 0;

	if (signal_pending_state(state, current)) {
		list_del_init(&entry->entry);
		result = -ERESTARTSYS;
	} else {
		if (list_empty(&entry->entry)) {
			if (entry->flags & WQ_FLAG_EXCLUSIVE)
				list_add_tail(&entry->entry, &head->head);
			else
				enqueue(head, entry);
		}
		set_current_state(state);
	}
	irq_restore(flags);
	return result;
}

/* Called and left with the queue's lock held; the caller's macro loops. */
static int wait_locked(struct wait_queue_head *head, struct wait_queue_entry *entry, bool irq)
{
	if (list_empty(&entry->entry))
		list_add_tail(&entry->entry, &head->head);
	set_current_state(TASK_INTERRUPTIBLE);
	if (signal_pending(current))
		return -ERESTARTSYS;
	if (irq)
		import__raw_spin_unlock_irq(&head->lock);
	else
		import__raw_spin_unlock(&head->lock);
	import_schedule();
	if (irq)
		import__raw_spin_lock_irq(&head->lock);
	else
		import__raw_spin_lock(&head->lock);
	return 0;
}

int do_wait_intr(struct wait_queue_head *head, struct wait_queue_entry *entry) { return wait_locked(head, entry, false); }
int do_wait_intr_irq(struct wait_queue_head *head, struct wait_queue_entry *entry) { return wait_locked(head, entry, true); }

void finish_wait(struct wait_queue_head *head, struct wait_queue_entry *entry)
{
	ulong flags;

	(void)head;
	set_current_state(TASK_RUNNING);
	if (!list_empty(&entry->entry)) {
		flags = irq_save();
		list_del_init(&entry->entry);
		irq_restore(flags);
	}
}

/* Sleeping that remembers a wake-up, for loops that cannot set the task's state themselves. */
long wait_woken(struct wait_queue_entry *entry, uint mode, long timeout)
{
	set_current_state(mode);
	if (!(entry->flags & WQ_FLAG_WOKEN) && !import_kthread_should_stop_or_park())
		timeout = schedule_timeout(timeout);
	set_current_state(TASK_RUNNING);
	entry->flags &= ~WQ_FLAG_WOKEN;
	return timeout;
}

int woken_wake_function(struct wait_queue_entry *entry, uint mode, int sync, void *key)
{
	entry->flags |= WQ_FLAG_WOKEN;
	return default_wake_function(entry, mode, sync, key);
}

/* Entries that poll() leaves on queues: woken only for the events they wait for (fs/select.c). */
INTERNAL int pollwake(struct wait_queue_entry *entry, uint mode, int sync, void *key);
int pollwake(struct wait_queue_entry *entry, uint mode, int sync, void *key)
{
	struct poll_entry { struct wait_queue_entry wait; ulong key; } *poll = (void *)entry;

	if (key && !((ulong)key & poll->key))
		return 0;
	return default_wake_function(entry, mode, sync, key);
}
