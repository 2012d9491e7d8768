/* Counts whose end is taken care of under a lock (lib/refcount.c, lib/dec_and_lock.c). */
#include "sched.h"

enum { SATURATED = 0xc0000000u, UNDERFLOW = 3 };

struct mutex;
int mutex_lock(struct mutex *lock);
void mutex_unlock(struct mutex *lock);

bool refcount_dec_if_one(int *r)
{
	if (*r != 1)
		return false;
	*r = 0;
	return true;
}

/* False if it is 1 and stays so. */
bool refcount_dec_not_one(uint *r)
{
	if (*r == SATURATED)
		return true;
	if (*r == 1)
		return false;
	if (!*r) {
		import_refcount_warn_saturate(r, UNDERFLOW);
		return true;
	}
	--*r;
	return true;
}

static bool dec_and_test(uint *r)
{
	if (*r == 1) {
		*r = 0;
		return true;
	}
	if ((int)*r <= 0)
		import_refcount_warn_saturate(r, UNDERFLOW);
	else
		--*r;
	return false;
}

bool refcount_dec_and_mutex_lock(uint *r, struct mutex *lock)
{
	if (refcount_dec_not_one(r))
		return false;
	mutex_lock(lock);
	if (dec_and_test(r))
		return true;
	mutex_unlock(lock);
	return false;
}

bool refcount_dec_and_lock(uint *r, spinlock_t *lock)
{
	if (refcount_dec_not_one(r))
		return false;
	import__raw_spin_lock(lock);
	if (dec_and_test(r))
		return true;
	import__raw_spin_unlock(lock);
	return false;
}

bool refcount_dec_and_lock_irqsave(uint *r, spinlock_t *lock, ulong *flags)
{
	if (refcount_dec_not_one(r))
		return false;
	*flags = import__raw_spin_lock_irqsave(lock);
	if (dec_and_test(r))
		return true;
	import__raw_spin_unlock_irqrestore(lock, *flags);
	return false;
}

int _atomic_dec_and_lock(int *count, spinlock_t *lock)
{
	if (*count != 1) {
		--*count;
		return 0;
	}
	import__raw_spin_lock(lock);
	if (!--*count)
		return 1;
	import__raw_spin_unlock(lock);
	return 0;
}

int _atomic_dec_and_lock_irqsave(int *count, spinlock_t *lock, ulong *flags)
{
	if (*count != 1) {
		--*count;
		return 0;
	}
	*flags = import__raw_spin_lock_irqsave(lock);
	if (!--*count)
		return 1;
	import__raw_spin_unlock_irqrestore(lock, *flags);
	return 0;
}
