/* Ticks to other units of time and back, for the 250 ticks a second of Debian's kernels (kernel/time/time.c). */
#include "stubs.h"

enum { HZ = 250, USER_HZ = 100, TICK_USEC = 1000000 / HZ, TICK_MSEC = 1000 / HZ, TICK_NSEC = 1000000000 / HZ };

#define NSEC_PER_SEC 1000000000u
#define MAX_JIFFY_OFFSET ((~0ul >> 2) - 1)

struct timespec64 { s64 tv_sec; long tv_nsec; };

uint jiffies_to_msecs(ulong j) { return j * TICK_MSEC; }
uint jiffies_to_usecs(ulong j) { return j * TICK_USEC; }
u64 jiffies64_to_msecs(u64 j) { return j * TICK_MSEC; }
u64 jiffies64_to_nsecs(u64 j) { return j * TICK_NSEC; }
u64 nsecs_to_jiffies64(u64 nsec) { return nsec / TICK_NSEC; }
ulong nsecs_to_jiffies(u64 nsec) { return nsec / TICK_NSEC; }

/* Rounded up. What is negative as an int means for ever. */
ulong __msecs_to_jiffies(uint msec)
{
	return (int)msec < 0 ? MAX_JIFFY_OFFSET : (msec + (ulong)TICK_MSEC - 1) / TICK_MSEC;
}

ulong __usecs_to_jiffies(uint usec)
{
	return usec > jiffies_to_usecs(MAX_JIFFY_OFFSET) ? MAX_JIFFY_OFFSET : (usec + (ulong)TICK_USEC - 1) / TICK_USEC;
}

/* clock_t: the hundredths of a second that user programs know. */
u64 jiffies_64_to_clock_t(u64 j) { return j * TICK_NSEC / (NSEC_PER_SEC / USER_HZ); }
long jiffies_to_clock_t(ulong j) { return jiffies_64_to_clock_t(j); }

ulong clock_t_to_jiffies(ulong ticks)
{
	return ticks >= ~0ul / HZ * USER_HZ ? ~0ul : ticks * HZ / USER_HZ;
}

void jiffies_to_timespec64(ulong j, struct timespec64 *value)
{
	u64 nsec = (u64)j * TICK_NSEC;

	value->tv_sec = nsec / NSEC_PER_SEC;
	value->tv_nsec = nsec % NSEC_PER_SEC;
}

/* Nanoseconds to seconds, towards minus infinity. */
struct timespec64 ns_to_timespec64(s64 nsec)
{
	struct timespec64 ts = { nsec / (s64)NSEC_PER_SEC, nsec % (s64)NSEC_PER_SEC };

	if (ts.tv_nsec < 0) {
		ts.tv_sec--;
		ts.tv_nsec += NSEC_PER_SEC;
	}
	return ts;
}

/* struct timeval: as a timespec, in microseconds. */
struct timespec64 ns_to_kernel_old_timeval(s64 nsec)
{
	struct timespec64 tv = ns_to_timespec64(nsec);

	tv.tv_nsec /= 1000;
	return tv;
}

void set_normalized_timespec64(struct timespec64 *ts, s64 sec, s64 nsec)
{
	struct timespec64 rest = ns_to_timespec64(nsec);

	ts->tv_sec = sec + rest.tv_sec;
	ts->tv_nsec = rest.tv_nsec;
}

/* Sums of times stay at the greatest time there is. */
s64 ktime_add_safe(s64 a, s64 b)
{
	s64 sum = a + b;

	return sum < 0 || sum < a || sum < b ? S64_MAX : sum;
}
