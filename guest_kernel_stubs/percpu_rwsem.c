/*
 * Reader-writer semaphores with a count per processor (kernel/locking/percpu-rwsem.c). Inlined code of the readers
 * counts by itself while gp_state is 0, so a writer changes that first and then waits until the count is 0.
 */
#include "sched.h"

struct percpu_rw_semaphore {
	struct { int gp_state, gp_count; struct wait_queue_head gp_wait; struct rcu_head cb_head; } rss;
	uint *read_count; /* an offset in the per-CPU area */
	struct task_struct *writer;
	struct wait_queue_head waiters;
	int block;
};

static int readers(struct percpu_rw_semaphore *sem)
{
	int count;

	asm volatile("movl %%gs:(%1), %0" : "=r"(count) : "r"(sem->read_count) : "memory");
	return count;
}

int __percpu_init_rwsem(struct percpu_rw_semaphore *sem, const char *name, void *key)
{
	sem->read_count = import___alloc_percpu(sizeof(int), sizeof(int));
	if (!sem->read_count)
		return -ENOMEM;
	sem->rss.gp_state = sem->rss.gp_count = 0;
	__init_waitqueue_head(&sem->rss.gp_wait, name, key);
	sem->writer = NULL;
	__init_waitqueue_head(&sem->waiters, name, key);
	sem->block = 0;
	return 0;
}

void percpu_free_rwsem(struct percpu_rw_semaphore *sem)
{
	if (!sem->read_count)
		return;
	import_free_percpu(sem->read_count);
	sem->read_count = NULL;
}

static void wait_while_blocked(struct percpu_rw_semaphore *sem)
{
	struct wait_queue_entry entry = { .private = current, .func = autoremove_wake_function };

	list_init(&entry.entry);
	for (;;) {
		prepare_to_wait(&sem->waiters, &entry, TASK_UNINTERRUPTIBLE);
		if (!*(volatile int *)&sem->block)
			break;
		import_schedule();
	}
	finish_wait(&sem->waiters, &entry);
}

/* Called with preemption off, by a reader that met a writer. */
bool __percpu_down_read(struct percpu_rw_semaphore *sem, bool try)
{
	if (sem->block && try)
		return false;
	if (sem->block) {
		import_preempt_count_add(-1);
		wait_while_blocked(sem);
		import_preempt_count_add(1);
	}
	asm volatile("incl %%gs:(%0)" : : "r"(sem->read_count) : "memory", "cc");
	return true;
}

/* A reader has left while a writer waits (kernel/exit.c). */
int rcuwait_wake_up(struct task_struct **writer)
{
	return *writer && import_try_to_wake_up(*writer, TASK_NORMAL);
}

void percpu_down_write(struct percpu_rw_semaphore *sem)
{
	void *caller = __builtin_return_address(0);

	import_lock_acquire(sem, LOCK_WRITE_SEM, (ulong)caller);
	sem->rss.gp_count++;
	sem->rss.gp_state = 2; /* passed: nobody counts by himself any more */
	while (*(volatile int *)&sem->block)
		wait_while_blocked(sem);
	sem->block = 1;
	sem->writer = current;
	for (;;) {
		set_current_state(TASK_UNINTERRUPTIBLE);
		if (!readers(sem))
			break;
		import_schedule();
	}
	set_current_state(TASK_RUNNING);
	sem->writer = NULL;
	import_lock_acquired(sem, LOCK_WRITE_SEM, (ulong)caller);
}

void percpu_up_write(struct percpu_rw_semaphore *sem)
{
	import_lock_release(sem, LOCK_WRITE_SEM, (ulong)__builtin_return_address(0));
	sem->block = 0;
	if (!--sem->rss.gp_count)
		sem->rss.gp_state = 0;
	__wake_up(&sem->waiters, TASK_NORMAL, 0, NULL);
}

bool percpu_is_read_locked(struct percpu_rw_semaphore *sem) { return readers(sem) && !sem->block; }
