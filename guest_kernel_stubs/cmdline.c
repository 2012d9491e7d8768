/* Kernel and module command lines (lib/cmdline.c). */
#include "stubs.h"

enum option { OPTION_NONE, OPTION_INT, OPTION_INT_COMMA, OPTION_INT_RANGE };

/* Reads one integer from *s and steps over it and a comma; what followed is the result. */
int get_option(char **s, int *value)
{
	char *start = *s;
	int number;

	if (!start || !*start)
		return OPTION_NONE;
	if (*start == '-')
		number = -simple_strtoull(++start, s, 0);
	else
		number = simple_strtoull(start, s, 0);
	if (value)
		*value = number;
	if (*s == start)
		return OPTION_NONE;
	if (**s == ',') {
		++*s;
		return OPTION_INT_COMMA;
	}
	return **s == '-' ? OPTION_INT_RANGE : OPTION_INT;
}

/* After "M" of "M-N": stores M..N-1 into at most room ints; returns N - M. */
static int expand_range(char **s, int *values, int room)
{
	int first = *values, last;

	++*s;
	last = simple_strtol(*s, NULL, 0);
	for (int x = first; room && x < last; x++, room--)
		*values++ = x;
	return last - first;
}

/* values[0] becomes the count. With room for none, all are counted and nothing else is stored. */
char *get_options(const char *text, int room, int *values)
{
	char *s = (char *)text;
	bool count_only = room == 0;
	int i = 1;

	while (i < room || count_only) {
		int *slot = count_only ? values : values + i;
		int kind = get_option(&s, slot);

		if (kind == OPTION_NONE)
			break;
		if (kind == OPTION_INT_RANGE) {
			int more = expand_range(&s, slot, count_only ? 0 : room - i);

			if (more < 0)
				break;
			i += more - 1; /* N itself comes with the next round */
		}
		i++;
		if (kind == OPTION_INT)
			break;
	}
	values[0] = i - 1;
	return s;
}

/* A number with a binary unit: "64K", "1G". */
u64 memparse(const char *s, char **rest)
{
	static const char units[] = "kmgtpe";
	char *end;
	u64 value = simple_strtoull(s, &end, 0);
	const char *unit = *end ? strchr(units, *end | 0x20) : NULL;

	if (unit) {
		value <<= 10 * (unit - units + 1);
		end++;
	}
	if (rest)
		*rest = end;
	return value;
}

/* Cuts "name=value" off the front of args, in place; returns the next argument. *value is NULL when there is none. */
char *next_arg(char *args, char **name, char **value)
{
	bool quoted = *args == '"', in_quote = quoted;
	size_t equals = 0, len;

	if (quoted)
		args++;
	for (len = 0; args[len] && (in_quote || !isspace(args[len])); len++) {
		if (args[len] == '=' && !equals)
			equals = len;
		if (args[len] == '"')
			in_quote = !in_quote;
	}
	*name = args;
	*value = NULL;
	if (equals) {
		args[equals] = '\0';
		*value = args + equals + 1;
		if (**value == '"') {
			++*value;
			if (args[len - 1] == '"')
				args[len - 1] = '\0';
		}
	}
	if (quoted && len > 0 && args[len - 1] == '"')
		args[len - 1] = '\0';
	if (args[len])
		args[len++] = '\0';
	return skip_spaces(args + len);
}
