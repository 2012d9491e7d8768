/*
 * Sleeping and waking, for the files that wait. Structures are laid out as all four releases have them; where a
 * member of task_struct lies, the loader says.
 *
 * The machine has one processor, so a short section is made safe by keeping interrupts off.
 */
#ifndef SCHED_H
#define SCHED_H

#include "imports.h"

enum {
	TASK_RUNNING = 0, TASK_INTERRUPTIBLE = 1, TASK_UNINTERRUPTIBLE = 2, TASK_PARKED = 0x40, TASK_WAKEKILL = 0x100,
	TASK_NOLOAD = 0x400,
	TASK_KILLABLE = TASK_WAKEKILL | TASK_UNINTERRUPTIBLE, TASK_IDLE = TASK_UNINTERRUPTIBLE | TASK_NOLOAD,
	TASK_NORMAL = TASK_INTERRUPTIBLE | TASK_UNINTERRUPTIBLE,
};
enum { EINTR = 4, EAGAIN = 11, ENOSYS = 38, ETIME = 62, ERESTARTSYS = 512 };

#define MAX_SCHEDULE_TIMEOUT ((long)(~0ul >> 1))

typedef struct { u32 value; } spinlock_t;
struct task_struct;

struct timer_list {
	void *next, **pprev;
	ulong expires;
	void (*function)(struct timer_list *timer);
	u32 flags;
};

struct wait_queue_head { spinlock_t lock; struct list_head head; };
struct wait_queue_entry {
	u32 flags;
	void *private;
	int (*func)(struct wait_queue_entry *entry, uint mode, int flags, void *key);
	struct list_head entry;
};
struct swait_queue_head { spinlock_t lock; struct list_head task_list; };
struct swait_queue { struct task_struct *task; struct list_head task_list; };
struct completion { uint done; struct swait_queue_head wait; };

/* The task that runs: kept up to date by the scheduler. */
extern INTERNAL struct task_struct *current_pointer;
#define current current_pointer

IMPORT(void, schedule, (void));
IMPORT(int, __cond_resched, (void));
IMPORT(int, try_to_wake_up, (struct task_struct *task, uint state));
IMPORT(void, add_timer, (struct timer_list *timer));
IMPORT(int, del_timer_sync, (struct timer_list *timer));
IMPORT(s64, ktime_get, (void));
IMPORT(u64, wake_up_at, (s64 time));
IMPORT(bool, wake_up_cancel, (u64 ticket));
IMPORT(void, dump_stack, (void));
IMPORT(void, _raw_spin_lock, (spinlock_t *lock));
IMPORT(void, _raw_spin_unlock, (spinlock_t *lock));
IMPORT(void, _raw_spin_lock_irq, (spinlock_t *lock));
IMPORT(void, _raw_spin_unlock_irq, (spinlock_t *lock));
IMPORT(bool, kthread_should_stop, (void));
IMPORT(bool, kthread_should_park, (void));
IMPORT(bool, kthread_should_stop_or_park, (void));
IMPORT(void, kthread_ask, (struct task_struct *k, int flags, bool on));
IMPORT(bool, kthread_has, (struct task_struct *k, int flags));
IMPORT(int, kthread_result, (struct task_struct *k));
IMPORT(void, kthread_exit, (long result));
IMPORT(void, __put_task_struct, (struct task_struct *k));
IMPORT(void, module_put, (void *module));
IMPORT_VALUE(ulong, offset_usage, "offsetof task_struct.usage");
/* The kinds of locks that kernel/lockdep.py knows. */
enum { LOCK_MUTEX, LOCK_READ_SEM, LOCK_WRITE_SEM, LOCK_SEMAPHORE = 6 };
IMPORT(void, lock_acquire, (void *lock, int kind, ulong ip));
IMPORT(void, lock_acquired, (void *lock, int kind, ulong ip));
IMPORT(void, lock_release, (void *lock, int kind, ulong ip));
IMPORT(void, lock_wait, (void *lock));
IMPORT(void, lock_leave, (void *lock));
IMPORT(void, lock_wake, (void *lock, bool everybody));
IMPORT_VALUE(ulong, offset_ww_ctx, "offsetof ww_mutex.ctx");
IMPORT(ulong, _raw_spin_lock_irqsave, (spinlock_t *lock));
IMPORT(void, _raw_spin_unlock_irqrestore, (spinlock_t *lock, ulong flags));
IMPORT(void, refcount_warn_saturate, (void *r, int kind));
IMPORT(void, preempt_count_add, (int change));
IMPORT(void *, __alloc_percpu, (size_t size, size_t align));
IMPORT(void, free_percpu, (void *pointer));

struct rcu_head { struct rcu_head *next; void (*func)(struct rcu_head *head); };
IMPORT(void, call_rcu, (struct rcu_head *head, void (*func)(struct rcu_head *head)));
IMPORT(void, call_srcu, (void *ssp, struct rcu_head *head, void (*func)(struct rcu_head *head)));
IMPORT_VALUE(ulong, offset_rcu_nesting, "offsetof task_struct.rcu_read_lock_nesting");

struct work_struct { ulong data; struct list_head entry; void (*func)(struct work_struct *work); };
struct delayed_work { struct work_struct work; struct timer_list timer; void *wq; int cpu; };
IMPORT(struct work_struct *, worker_next, (void));
IMPORT(void, worker_done, (void));
IMPORT(u64, work_ticket, (struct work_struct *work));
IMPORT(bool, work_finished, (u64 ticket));
IMPORT(bool, work_grab, (struct work_struct *work));
IMPORT(void, work_release, (struct work_struct *work));
IMPORT(u64, workqueue_ticket, (void *wq));
IMPORT(bool, workqueue_finished, (void *wq, u64 ticket));
IMPORT(void, workqueue_free, (void *wq));
IMPORT(bool, queue_work_on, (int cpu, void *wq, struct work_struct *work));
IMPORT_VALUE(void **, system_wq, "system_wq");
IMPORT_VALUE(volatile ulong *, jiffies, "jiffies_64");
IMPORT_VALUE(ulong, offset_state, "offsetof task_struct.__state|state");
IMPORT_VALUE(ulong, offset_pending, "offsetof task_struct.pending");

#define jiffies (*import_jiffies)

static inline ulong irq_save(void)
{
	ulong flags;

	asm volatile("pushfq; popq %0; cli" : "=r"(flags) : : "memory");
	return flags;
}

static inline void irq_restore(ulong flags) { asm volatile("pushq %0; popfq" : : "r"(flags) : "memory", "cc"); }

static inline u32 volatile *task_state(struct task_struct *task) { return (u32 *)((char *)task + import_offset_state); }
static inline void set_current_state(uint state) { *task_state(current) = state; }

/* thread_info comes first in task_struct, its flags first in that. */
static inline bool signal_pending(struct task_struct *task)
{
	enum { TIF_SIGPENDING = 1 << 2, TIF_NOTIFY_SIGNAL = 1 << 17 };

	return *(volatile ulong *)task & (TIF_SIGPENDING | TIF_NOTIFY_SIGNAL);
}

static inline bool fatal_signal_pending(struct task_struct *task)
{
	enum { SIGKILL_BIT = 1 << 8 };
	struct sigpending { struct list_head list; u64 signal; } *pending = (void *)((char *)task + import_offset_pending);

	return signal_pending(task) && (pending->signal & SIGKILL_BIT);
}

/* Whether a signal ends a sleep in this state. */
static inline bool signal_pending_state(uint state, struct task_struct *task)
{
	if (state & TASK_INTERRUPTIBLE)
		return signal_pending(task);
	return (state & TASK_WAKEKILL) && fatal_signal_pending(task);
}

static inline void list_init(struct list_head *head) { head->next = head->prev = head; }
static inline bool list_empty(const struct list_head *head) { return *(struct list_head *volatile *)&head->next == head; }

static inline void list_insert(struct list_head *new, struct list_head *before, struct list_head *after)
{
	after->prev = new;
	new->next = after;
	new->prev = before;
	before->next = new;
}

static inline void list_add(struct list_head *new, struct list_head *head) { list_insert(new, head, head->next); }
static inline void list_add_tail(struct list_head *new, struct list_head *head) { list_insert(new, head->prev, head); }

static inline void list_del_init(struct list_head *entry)
{
	entry->next->prev = entry->prev;
	entry->prev->next = entry->next;
	list_init(entry);
}

#define container_of(pointer, type, member) ((type *)((char *)(pointer) - __builtin_offsetof(type, member)))

/* sleep.c */
long schedule_timeout(long timeout);
void io_schedule(void);
long io_schedule_timeout(long timeout);

/* wait.c */
void __init_waitqueue_head(struct wait_queue_head *head, const char *name, void *key);
void __wake_up(struct wait_queue_head *head, uint mode, int nr_exclusive, void *key);
void prepare_to_wait(struct wait_queue_head *head, struct wait_queue_entry *entry, int state);
bool prepare_to_wait_exclusive(struct wait_queue_head *head, struct wait_queue_entry *entry, int state);
long prepare_to_wait_event(struct wait_queue_head *head, struct wait_queue_entry *entry, int state);
void finish_wait(struct wait_queue_head *head, struct wait_queue_entry *entry);
int default_wake_function(struct wait_queue_entry *entry, uint mode, int flags, void *key);
int autoremove_wake_function(struct wait_queue_entry *entry, uint mode, int flags, void *key);

/* completion.c */
void complete(struct completion *x);
void wait_for_completion(struct completion *x);

/* swait.c */
void __init_swait_queue_head(struct swait_queue_head *queue, const char *name, void *key);
void swake_up_locked(struct swait_queue_head *queue);

#endif
