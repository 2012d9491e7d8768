/* Mutexes that are taken in any order, the younger transaction giving way (kernel/locking/ww_mutex.h). */
#include "sched.h"

enum { EDEADLK = 35, EALREADY = 114 };

struct ww_acquire_ctx { struct task_struct *task; ulong stamp; uint acquired; u16 wounded, is_wait_die; };
struct mutex { ulong owner; };
struct ww_mutex { struct mutex base; };

int mutex_trylock(struct mutex *lock);



static struct ww_acquire_ctx **context_of(struct ww_mutex *lock)
{
	return (void *)((char *)lock + import_offset_ww_ctx);
}

static void owned_by(struct ww_mutex *lock, struct ww_acquire_ctx *ctx)
{
	*context_of(lock) = ctx;
	if (ctx)
		ctx->acquired++;
}

/* Whether a transaction has to give back what it holds instead of waiting for the holder. */
static bool gives_way(struct ww_acquire_ctx *ctx, struct ww_acquire_ctx *holder)
{
	if (!ctx->is_wait_die) {
		if (holder && holder->acquired && (long)(ctx->stamp - holder->stamp) < 0) {
			holder->wounded = 1;
			import_try_to_wake_up(holder->task, TASK_NORMAL);
		}
		return ctx->acquired && ctx->wounded;
	}
	return ctx->acquired && holder && (long)(ctx->stamp - holder->stamp) > 0;
}

static int ww_acquire(struct ww_mutex *lock, struct ww_acquire_ctx *ctx, uint state, void *caller)
{
	int result = 0;

	if (ctx && ctx == *context_of(lock))
		return -EALREADY;
	if (ctx && !ctx->acquired)
		ctx->wounded = 0;
	if (!ctx || !ctx->acquired) /* the others of a transaction may be taken in any order */
		import_lock_acquire(lock, LOCK_MUTEX, (ulong)caller);
	while (lock->base.owner & ~7ul) {
		if (signal_pending_state(state, current))
			result = -EINTR;
		else if (ctx && gives_way(ctx, *context_of(lock)))
			result = -EDEADLK;
		if (result)
			break;
		import_lock_wait(lock);
		set_current_state(state);
		import_schedule();
	}
	import_lock_leave(lock);
	if (result)
		return result;
	lock->base.owner = (ulong)current;
	import_lock_acquired(lock, LOCK_MUTEX, (ulong)caller);
	owned_by(lock, ctx);
	return 0;
}

int ww_mutex_lock(struct ww_mutex *lock, struct ww_acquire_ctx *ctx)
{
	return ww_acquire(lock, ctx, TASK_UNINTERRUPTIBLE, __builtin_return_address(0));
}

int ww_mutex_lock_interruptible(struct ww_mutex *lock, struct ww_acquire_ctx *ctx)
{
	return ww_acquire(lock, ctx, TASK_INTERRUPTIBLE, __builtin_return_address(0));
}

int ww_mutex_trylock(struct ww_mutex *lock, struct ww_acquire_ctx *ctx)
{
	int taken;

	if (ctx && !ctx->acquired)
		ctx->wounded = 0;
	taken = mutex_trylock(&lock->base);
	if (taken)
		owned_by(lock, ctx);
	return taken;
}

void ww_mutex_unlock(struct ww_mutex *lock)
{
	struct ww_acquire_ctx **ctx = context_of(lock);

	if (*ctx) {
		(*ctx)->acquired--;
		*ctx = NULL;
	}
	import_lock_release(lock, LOCK_MUTEX, (ulong)__builtin_return_address(0));
	lock->base.owner = 0;
	import_lock_wake(lock, false);
}
