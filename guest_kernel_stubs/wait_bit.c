/* Waiting for a bit, or for a variable, to change (kernel/sched/wait_bit.c). */
#include "sched.h"

enum { WAIT_TABLE_SIZE = 256 };

struct wait_bit_key { void *flags; int bit_nr; ulong timeout; };
struct wait_bit_entry { struct wait_bit_key key; struct wait_queue_entry entry; };
typedef int action_fn(struct wait_bit_key *key, int mode);

static struct wait_queue_head table[WAIT_TABLE_SIZE];

/* Queues are shared by addresses; the wake function tells them apart. A queue is made when it is first asked for. */
static struct wait_queue_head *queue_of(ulong value)
{
	struct wait_queue_head *queue = &table[(value * 0x61c8864680b583ebul) >> 56];

	if (!queue->head.next)
		__init_waitqueue_head(queue, NULL, NULL);
	return queue;
}

struct wait_queue_head *bit_waitqueue(void *word, int bit) { return queue_of((ulong)word << 6 | (uint)bit); }
struct wait_queue_head *__var_waitqueue(void *variable) { return queue_of((ulong)variable); }

static bool bit_is_set(struct wait_bit_key *key) { return ((volatile u8 *)key->flags)[key->bit_nr >> 3] >> (key->bit_nr & 7) & 1; }

static bool test_and_set(struct wait_bit_key *key)
{
	bool was = bit_is_set(key);

	((volatile u8 *)key->flags)[key->bit_nr >> 3] |= 1 << (key->bit_nr & 7);
	return was;
}

int wake_bit_function(struct wait_queue_entry *entry, uint mode, int sync, void *argument)
{
	struct wait_bit_key *key = argument;
	struct wait_bit_entry *wait = container_of(entry, struct wait_bit_entry, entry);

	if (wait->key.flags != key->flags || wait->key.bit_nr != key->bit_nr || bit_is_set(key))
		return 0;
	return autoremove_wake_function(entry, mode, sync, key);
}

int __wait_on_bit(struct wait_queue_head *queue, struct wait_bit_entry *wait, action_fn *action, uint mode)
{
	int result = 0;

	do {
		prepare_to_wait(queue, &wait->entry, mode);
		if (bit_is_set(&wait->key))
			result = action(&wait->key, mode);
	} while (bit_is_set(&wait->key) && !result);
	finish_wait(queue, &wait->entry);
	return result;
}

int __wait_on_bit_lock(struct wait_queue_head *queue, struct wait_bit_entry *wait, action_fn *action, uint mode)
{
	int result = 0;

	for (;;) {
		prepare_to_wait_exclusive(queue, &wait->entry, mode);
		if (bit_is_set(&wait->key))
			result = action(&wait->key, mode);
		if (!test_and_set(&wait->key) || result)
			break;
	}
	finish_wait(queue, &wait->entry);
	return result;
}

#define BIT_ENTRY(word, bit, expires) \
	{ { word, bit, expires }, { 0, current, wake_bit_function, { &wait.entry.entry, &wait.entry.entry } } }

int out_of_line_wait_on_bit(void *word, int bit, action_fn *action, uint mode)
{
	struct wait_bit_entry wait = BIT_ENTRY(word, bit, 0);

	return __wait_on_bit(bit_waitqueue(word, bit), &wait, action, mode);
}

int out_of_line_wait_on_bit_timeout(void *word, int bit, action_fn *action, uint mode, ulong timeout)
{
	struct wait_bit_entry wait = BIT_ENTRY(word, bit, jiffies + timeout);

	return __wait_on_bit(bit_waitqueue(word, bit), &wait, action, mode);
}

int out_of_line_wait_on_bit_lock(void *word, int bit, action_fn *action, uint mode)
{
	struct wait_bit_entry wait = BIT_ENTRY(word, bit, 0);

	return __wait_on_bit_lock(bit_waitqueue(word, bit), &wait, action, mode);
}

void __wake_up_bit(struct wait_queue_head *queue, void *word, int bit)
{
	struct wait_bit_key key = { word, bit, 0 };

	if (!list_empty(&queue->head))
		__wake_up(queue, TASK_NORMAL, 1, &key);
}

void wake_up_bit(void *word, int bit) { __wake_up_bit(bit_waitqueue(word, bit), word, bit); }

static int var_wake_function(struct wait_queue_entry *entry, uint mode, int sync, void *argument)
{
	struct wait_bit_key *key = argument;
	struct wait_bit_entry *wait = container_of(entry, struct wait_bit_entry, entry);

	if (wait->key.flags != key->flags || wait->key.bit_nr != key->bit_nr)
		return 0;
	return autoremove_wake_function(entry, mode, sync, key);
}

void init_wait_var_entry(struct wait_bit_entry *wait, void *variable, int flags)
{
	wait->key = (struct wait_bit_key){ variable, -1, 0 };
	wait->entry = (struct wait_queue_entry){ flags, current, var_wake_function, { NULL, NULL } };
	list_init(&wait->entry.entry);
}

void wake_up_var(void *variable) { __wake_up_bit(__var_waitqueue(variable), variable, -1); }

static int interrupted(int mode) { return signal_pending_state(mode, current) ? -EINTR : 0; }

int bit_wait(struct wait_bit_key *key, int mode)
{
	(void)key;
	import_schedule();
	return interrupted(mode);
}

int bit_wait_io(struct wait_bit_key *key, int mode)
{
	(void)key;
	io_schedule();
	return interrupted(mode);
}

static int wait_until(struct wait_bit_key *key, int mode, long (*sleep)(long timeout))
{
	ulong now = jiffies;

	if ((long)(now - key->timeout) >= 0)
		return -EAGAIN;
	sleep(key->timeout - now);
	return interrupted(mode);
}

int bit_wait_timeout(struct wait_bit_key *key, int mode) { return wait_until(key, mode, schedule_timeout); }
int bit_wait_io_timeout(struct wait_bit_key *key, int mode) { return wait_until(key, mode, io_schedule_timeout); }
