/* Bitmaps as text: "1f,00000001" and "0-3,7,8-15:1/2" (lib/bitmap.c). */
#include "stubs.h"

static bool ends_text(char c)
{
	return c == '\0' || c == '\n';
}

static bool separates(char c)
{
	return isspace(c) || c == ',';
}

/* The 32-bit group that ends at *end; moves *end in front of it. */
static int group_backwards(const char *start, const char **end, u32 *group)
{
	*group = 0;
	for (int shift = 0; shift < 32; shift += 4) {
		int digit = hex_to_bin(*(*end)--);

		if (digit < 0)
			return -EINVAL;
		*group |= (u32)digit << shift;
		if (start > *end || separates(**end))
			return 0;
	}
	return hex_to_bin(*(*end)--) >= 0 ? -EOVERFLOW : 0;
}

/* Groups of up to eight hexadecimal digits, most significant first; read from the end. */
int bitmap_parse(const char *start, uint len, ulong *map, int nbits)
{
	const char *end = start;
	int groups = (nbits + 31) / 32, used = 0;
	u32 group;

	while (end < start + len && !ends_text(*end))
		end++;
	for (end--;; used++) {
		int err;

		while (start <= end && separates(*end))
			end--;
		if (start > end)
			break;
		if (used == groups)
			return -EOVERFLOW;
		err = group_backwards(start, &end, &group);
		if (err)
			return err;
		((u32 *)map)[used] = group;
	}
	if (used * 32 < nbits)
		__bitmap_clear(map, used * 32, nbits - used * 32);
	else if (_find_next_bit(map, used * 32, nbits) != (ulong)used * 32)
		return -EOVERFLOW;
	return 0;
}

struct region { uint start, end, on, period; bool patterned; };

/* A number, or N for the last bit. Returns behind it, or NULL with *err set. */
static const char *region_number(const char *s, uint *number, uint last, int *err)
{
	const char *end;
	bool overflow;
	u64 value;

	if (*s == 'N') {
		*number = last;
		return s + 1;
	}
	end = integer_digits(s, ULONG_MAX, 10, &value, &overflow);
	if (end != s && !overflow && value == (uint)value) {
		*number = value;
		return end;
	}
	*err = end == s ? -EINVAL : -EOVERFLOW;
	return NULL;
}

static bool ends_region(char c)
{
	return separates(c) || ends_text(c);
}

/* "M", "M-N", "all", each but the first with an optional ":on/period". Returns behind it, or NULL. */
static const char *parse_region(const char *s, struct region *r, uint last, int *err)
{
	bool all = tolower(s[0]) == 'a' && tolower(s[1]) == 'l' && tolower(s[2]) == 'l';

	*err = -EINVAL;
	if (all) {
		r->start = 0;
		r->end = last;
		s += 3;
	} else {
		s = region_number(s, &r->start, last, err);
		if (!s)
			return NULL;
		r->end = r->start;
		if (!ends_region(*s)) {
			s = *s == '-' ? region_number(s + 1, &r->end, last, err) : NULL;
			if (!s)
				return NULL;
		}
	}
	r->on = r->period = r->end + 1;
	r->patterned = !ends_region(*s);
	if (r->patterned) {
		s = *s == ':' ? region_number(s + 1, &r->on, last, err) : NULL;
		if (s)
			s = *s == '/' ? region_number(s + 1, &r->period, last, err) : NULL;
	}
	return s;
}

static int set_region(const struct region *r, ulong *map, uint nbits)
{
	if (r->start > r->end || !r->period || r->on > r->period)
		return -EINVAL;
	if (r->end >= nbits)
		return -ERANGE;
	for (uint start = r->start; start <= r->end; start += r->period)
		__bitmap_set(map, start, minimum(r->end - start + 1, r->on));
	return 0;
}

int bitmap_parselist(const char *s, ulong *map, int nbits)
{
	memset(map, 0, (nbits + 63) / 64 * sizeof(*map));
	for (;;) {
		struct region r;
		int err;

		while (separates(*s))
			s++;
		if (ends_text(*s))
			return 0;
		s = parse_region(s, &r, nbits - 1, &err);
		if (!s)
			return err;
		err = set_region(&r, map, nbits);
		if (err)
			return err;
		/* A newline is also a space: it ends the text only right behind a region without a pattern. */
		if (!r.patterned && ends_text(*s))
			return 0;
	}
}
