/* The fraction nearest to a given one within bounds (lib/math/rational.c). */
#include "stubs.h"

struct fraction { ulong n, d; };

/* previous + times * last: the next (or, with a smaller factor, a semi-) convergent of the continued fraction. */
static struct fraction convergent(struct fraction previous, struct fraction last, ulong times)
{
	return (struct fraction){ previous.n + times * last.n, previous.d + times * last.d };
}

void rational_best_approximation(ulong n, ulong d, ulong max_n, ulong max_d, ulong *best_n, ulong *best_d)
{
	struct fraction before = { 0, 1 }, best = { 1, 0 };

	while (d) {
		ulong term = n / d, divisor = d, fits = ULONG_MAX;
		struct fraction next = convergent(before, best, term);

		d = n % d;
		n = divisor;
		if (next.n <= max_n && next.d <= max_d) {
			before = best;
			best = next;
			continue;
		}
		/* Out of bounds: the largest semiconvergent that fits, when it is nearer than the last convergent. */
		if (best.d)
			fits = (max_d - before.d) / best.d;
		if (best.n)
			fits = minimum(fits, (max_n - before.n) / best.n);
		if (!best.d || 2 * fits > term || (2 * fits == term && before.d * divisor > best.d * d))
			best = convergent(before, best, fits);
		break;
	}
	*best_n = best.n;
	*best_d = best.d;
}
