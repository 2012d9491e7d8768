/* Times moved to whole seconds, so that timers fire together (kernel/time/timer.c). HZ is 250, as in jiffies.c. */
#include "sched.h"

#define HZ 250
#define SKEW 3 /* each processor's timers fire a little later than those of the one before */

static ulong rounded(ulong j, int cpu, bool force_up)
{
	ulong original = j, rest;

	j += cpu * SKEW;
	rest = j % HZ;
	j -= rest;
	if (rest >= HZ / 4 || force_up)
		j += HZ;
	j -= cpu * SKEW;
	return (long)(j - jiffies) > 0 ? j : original;
}

static ulong relative(ulong j, int cpu, bool force_up)
{
	ulong now = jiffies;

	return rounded(j + now, cpu, force_up) - now;
}

ulong __round_jiffies(ulong j, int cpu) { return rounded(j, cpu, false); }
ulong __round_jiffies_up(ulong j, int cpu) { return rounded(j, cpu, true); }
ulong __round_jiffies_relative(ulong j, int cpu) { return relative(j, cpu, false); }
ulong __round_jiffies_up_relative(ulong j, int cpu) { return relative(j, cpu, true); }
ulong round_jiffies(ulong j) { return rounded(j, 0, false); }
ulong round_jiffies_up(ulong j) { return rounded(j, 0, true); }
ulong round_jiffies_relative(ulong j) { return relative(j, 0, false); }
ulong round_jiffies_up_relative(ulong j) { return relative(j, 0, true); }
