/* RCU: read sides are counted in the task; waiting for a grace period is waiting for a callback (kernel/rcu). */
#include "sched.h"

static int *nesting(void) { return (int *)((char *)current + import_offset_rcu_nesting); }

void __rcu_read_lock(void) { ++*nesting(); }
void __rcu_read_unlock(void) { --*nesting(); }

struct waiter { struct rcu_head head; struct completion done; };

static void grace_period_over(struct rcu_head *head) { complete(&container_of(head, struct waiter, head)->done); }

static void waiter_init(struct waiter *waiter)
{
	waiter->done.done = 0;
	__init_swait_queue_head(&waiter->done.wait, NULL, NULL);
}

void synchronize_rcu(void)
{
	struct waiter waiter;

	waiter_init(&waiter);
	import_call_rcu(&waiter.head, grace_period_over);
	wait_for_completion(&waiter.done);
}

void synchronize_rcu_expedited(void) { synchronize_rcu(); }
void synchronize_net(void) { synchronize_rcu(); }
void synchronize_rcu_tasks(void) { synchronize_rcu(); }

/* Callbacks are called in the order of their registration, so that the last one's being called means all were. */
void rcu_barrier(void) { synchronize_rcu(); }

void synchronize_srcu(void *ssp)
{
	struct waiter waiter;

	waiter_init(&waiter);
	import_call_srcu(ssp, &waiter.head, grace_period_over);
	wait_for_completion(&waiter.done);
}

void synchronize_srcu_expedited(void *ssp) { synchronize_srcu(ssp); }
void srcu_barrier(void *ssp) { synchronize_srcu(ssp); }
