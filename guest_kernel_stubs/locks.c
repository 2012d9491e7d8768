/*
 * Locks whose waiters sleep: mutexes, reader-writer semaphores, semaphores (kernel/locking/). The word that says who
 * holds the lock is kept as the kernel keeps it; the waiters are in a queue outside, so that the layout of the rest
 * does not matter.
 */
#include "sched.h"

enum { WRITER = 1, READER = 0x100 };

struct mutex { ulong owner; };
struct rw_semaphore { ulong count, owner; };
struct semaphore { spinlock_t lock; uint count; };

typedef bool take_fn(void *lock);

static bool take_mutex(void *lock)
{
	struct mutex *mutex = lock;

	if (mutex->owner & ~7ul)
		return false;
	mutex->owner = (ulong)current;
	return true;
}

static bool take_read(void *lock)
{
	struct rw_semaphore *sem = lock;

	if (sem->count & WRITER)
		return false;
	sem->count += READER;
	sem->owner = (ulong)current | 1;
	return true;
}

static bool take_write(void *lock)
{
	struct rw_semaphore *sem = lock;

	if (sem->count)
		return false;
	sem->count = WRITER;
	sem->owner = (ulong)current;
	return true;
}

static bool take_semaphore(void *lock)
{
	struct semaphore *sem = lock;

	if (!(int)sem->count)
		return false;
	sem->count--;
	return true;
}

/* 0; -EINTR when a signal ends the wait; -ETIME when the time is over. */
static int acquire(void *lock, int kind, take_fn *take, uint state, long timeout, void *caller)
{
	int result = 0;

	import_lock_acquire(lock, kind, (ulong)caller);
	while (!take(lock)) {
		if (signal_pending_state(state, current))
			result = -EINTR;
		else if (timeout <= 0)
			result = -ETIME;
		if (result)
			break;
		import_lock_wait(lock);
		set_current_state(state);
		timeout = schedule_timeout(timeout);
	}
	import_lock_leave(lock);
	if (!result)
		import_lock_acquired(lock, kind, (ulong)caller);
	return result;
}

#define CALLER __builtin_return_address(0)

static bool try_acquire(void *lock, int kind, take_fn *take, void *caller)
{
	bool taken = take(lock);

	if (taken)
		import_lock_acquired(lock, kind, (ulong)caller);
	return taken;
}

/* --- mutexes --- */

#define LOCK(name, type, kind, take, state)                                          \
	int name(type *lock)                                                         \
	{                                                                            \
		return acquire(lock, kind, take, state, MAX_SCHEDULE_TIMEOUT, CALLER); \
	}

LOCK(mutex_lock, struct mutex, LOCK_MUTEX, take_mutex, TASK_UNINTERRUPTIBLE)
LOCK(mutex_lock_io, struct mutex, LOCK_MUTEX, take_mutex, TASK_UNINTERRUPTIBLE)
LOCK(mutex_lock_interruptible, struct mutex, LOCK_MUTEX, take_mutex, TASK_INTERRUPTIBLE)
LOCK(mutex_lock_killable, struct mutex, LOCK_MUTEX, take_mutex, TASK_KILLABLE)

int mutex_trylock(struct mutex *lock) { return try_acquire(lock, LOCK_MUTEX, take_mutex, CALLER); }

void mutex_unlock(struct mutex *lock)
{
	import_lock_release(lock, LOCK_MUTEX, (ulong)CALLER);
	lock->owner = 0;
	import_lock_wake(lock, false);
}

int atomic_dec_and_mutex_lock(int *count, struct mutex *lock)
{
	if (*count != 1) {
		--*count;
		return 0;
	}
	acquire(lock, LOCK_MUTEX, take_mutex, TASK_UNINTERRUPTIBLE, MAX_SCHEDULE_TIMEOUT, CALLER);
	if (--*count) {
		mutex_unlock(lock);
		return 0;
	}
	return 1;
}

/* --- mutexes with priority inheritance, which one processor and one class of tasks have no use for --- */

struct rt_mutex { spinlock_t lock; void *root, *leftmost; ulong owner; };

static bool take_rt_mutex(void *lock)
{
	struct rt_mutex *mutex = lock;

	if (mutex->owner)
		return false;
	mutex->owner = (ulong)current;
	return true;
}

void rt_mutex_base_init(struct rt_mutex *lock)
{
	lock->lock.value = 0;
	lock->root = lock->leftmost = NULL;
	lock->owner = 0;
}

void __rt_mutex_init(struct rt_mutex *lock, const char *name, void *key)
{
	(void)name, (void)key;
	rt_mutex_base_init(lock);
}

LOCK(rt_mutex_lock, struct rt_mutex, LOCK_MUTEX, take_rt_mutex, TASK_UNINTERRUPTIBLE)
LOCK(rt_mutex_lock_interruptible, struct rt_mutex, LOCK_MUTEX, take_rt_mutex, TASK_INTERRUPTIBLE)
LOCK(rt_mutex_lock_killable, struct rt_mutex, LOCK_MUTEX, take_rt_mutex, TASK_KILLABLE)

int rt_mutex_trylock(struct rt_mutex *lock) { return try_acquire(lock, LOCK_MUTEX, take_rt_mutex, CALLER); }

void rt_mutex_unlock(struct rt_mutex *lock)
{
	import_lock_release(lock, LOCK_MUTEX, (ulong)CALLER);
	lock->owner = 0;
	import_lock_wake(lock, false);
}

/* --- reader-writer semaphores --- */

LOCK(down_read, struct rw_semaphore, LOCK_READ_SEM, take_read, TASK_UNINTERRUPTIBLE)
LOCK(down_read_interruptible, struct rw_semaphore, LOCK_READ_SEM, take_read, TASK_INTERRUPTIBLE)
LOCK(down_read_killable, struct rw_semaphore, LOCK_READ_SEM, take_read, TASK_KILLABLE)
LOCK(down_write, struct rw_semaphore, LOCK_WRITE_SEM, take_write, TASK_UNINTERRUPTIBLE)
LOCK(down_write_killable, struct rw_semaphore, LOCK_WRITE_SEM, take_write, TASK_KILLABLE)

int down_read_trylock(struct rw_semaphore *sem) { return try_acquire(sem, LOCK_READ_SEM, take_read, CALLER); }
int down_write_trylock(struct rw_semaphore *sem) { return try_acquire(sem, LOCK_WRITE_SEM, take_write, CALLER); }

void up_read(struct rw_semaphore *sem)
{
	import_lock_release(sem, LOCK_READ_SEM, (ulong)CALLER);
	sem->count -= READER;
	if (!sem->count)
		import_lock_wake(sem, true);
}

void up_write(struct rw_semaphore *sem)
{
	import_lock_release(sem, LOCK_WRITE_SEM, (ulong)CALLER);
	sem->count &= ~(ulong)WRITER;
	sem->owner = 0;
	import_lock_wake(sem, true);
}

void downgrade_write(struct rw_semaphore *sem)
{
	sem->count = READER;
	sem->owner = (ulong)current | 1;
	import_lock_wake(sem, true);
}

/* --- semaphores: nobody owns them --- */

LOCK(down, struct semaphore, LOCK_SEMAPHORE, take_semaphore, TASK_UNINTERRUPTIBLE)
LOCK(down_interruptible, struct semaphore, LOCK_SEMAPHORE, take_semaphore, TASK_INTERRUPTIBLE)
LOCK(down_killable, struct semaphore, LOCK_SEMAPHORE, take_semaphore, TASK_KILLABLE)

int down_timeout(struct semaphore *sem, long timeout)
{
	return acquire(sem, LOCK_SEMAPHORE, take_semaphore, TASK_UNINTERRUPTIBLE, timeout, CALLER);
}

/* 0 if it was taken, 1 if not: the other way round than mutex_trylock(). */
int down_trylock(struct semaphore *sem) { return !take_semaphore(sem); }

void up(struct semaphore *sem)
{
	ulong flags = irq_save();

	sem->count++;
	import_lock_wake(sem, false);
	irq_restore(flags);
}
