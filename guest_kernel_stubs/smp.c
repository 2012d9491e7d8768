/* Calls on other processors, where there is one (kernel/smp.c, kernel/stop_machine.c, kernel/workqueue.c). */
#include "sched.h"

enum { ENXIO = 6 };

typedef void call_fn(void *info);

static void call(call_fn *func, void *info)
{
	ulong flags = irq_save();

	func(info);
	irq_restore(flags);
}

int smp_call_function_single(int cpu, call_fn *func, void *info, int wait)
{
	(void)wait;
	if (cpu)
		return -ENXIO;
	call(func, info);
	return 0;
}

/* The others are none. */
void smp_call_function_many(const ulong *mask, call_fn *func, void *info, bool wait)
{
	(void)mask, (void)func, (void)info, (void)wait;
}

void smp_call_function(call_fn *func, void *info, int wait) { smp_call_function_many(NULL, func, info, wait); }

int smp_call_function_any(const ulong *mask, call_fn *func, void *info, int wait)
{
	return smp_call_function_single(*mask & 1 ? 0 : -1, func, info, wait);
}

void on_each_cpu_cond_mask(bool (*cond)(int cpu, void *info), call_fn *func, void *info, bool wait, const ulong *mask)
{
	(void)wait;
	if ((*mask & 1) && (!cond || cond(0, info)))
		call(func, info);
}

int stop_machine(int (*fn)(void *data), void *data, const ulong *cpus)
{
	ulong flags = irq_save();
	int result = fn(data);

	(void)cpus;
	irq_restore(flags);
	return result;
}

struct work_for_cpu { struct work_struct work; long (*fn)(void *arg); void *arg; long result; };

static void work_for_cpu_fn(struct work_struct *work)
{
	struct work_for_cpu *todo = container_of(work, struct work_for_cpu, work);

	todo->result = todo->fn(todo->arg);
}

bool flush_work(struct work_struct *work);

long work_on_cpu_key(int cpu, long (*fn)(void *arg), void *arg, void *key)
{
	struct work_for_cpu todo;

	(void)key;
	todo.work.data = 0;
	todo.work.func = work_for_cpu_fn;
	todo.fn = fn;
	todo.arg = arg;
	list_init(&todo.work.entry);
	import_queue_work_on(cpu, *import_system_wq, &todo.work);
	flush_work(&todo.work);
	return todo.result;
}

long work_on_cpu_safe_key(int cpu, long (*fn)(void *arg), void *arg, void *key)
{
	return cpu ? -(long)19 /* ENODEV */ : work_on_cpu_key(cpu, fn, arg, key);
}

long work_on_cpu(int cpu, long (*fn)(void *arg), void *arg) { return work_on_cpu_key(cpu, fn, arg, NULL); }
