/* Shell patterns (lib/glob.c): '*', '?', '[a-z]', '[!...]', backslash. A malformed class is plain text. */
#include "stubs.h"

/* pattern: behind the '['. Returns behind the ']', or NULL when the class is malformed. */
static const char *match_class(const char *pattern, u8 c, bool *matched)
{
	bool inverted = *pattern == '!', found = false;
	const char *p = pattern + inverted;
	u8 first = *p++;

	do {
		u8 last = first;

		if (!first)
			return NULL;
		if (p[0] == '-' && p[1] != ']') {
			last = p[1];
			if (!last)
				return NULL;
			p += 2;
		}
		found |= first <= c && c <= last;
	} while ((first = *p++) != ']');
	*matched = found != inverted;
	return p;
}

bool glob_match(const char *pattern, const char *s)
{
	const char *star = NULL, *resume = NULL;

	for (;;) {
		u8 c = *s++, want = *pattern++;
		bool same = false;

		if (want == '*') {
			if (!*pattern)
				return true;
			star = pattern;
			resume = --s;
			continue;
		}
		if (want == '?') {
			same = c != '\0';
		} else {
			const char *behind = want == '[' && c ? match_class(pattern, c, &same) : NULL;

			if (behind) {
				pattern = behind;
			} else {
				if (want == '\\')
					want = *pattern++;
				same = want == c;
				if (same && !c)
					return true;
			}
		}
		if (same)
			continue;
		if (!c || !star)
			return false;
		pattern = star;
		s = ++resume;
	}
}
