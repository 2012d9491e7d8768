/* Bytes as hexadecimal text (lib/hexdump.c). */
#include "stubs.h"

const char hex_asc[] = "0123456789abcdef";
const char hex_asc_upper[] = "0123456789ABCDEF";

int hex_to_bin(u8 ch)
{
	if (isdigit(ch))
		return ch - '0';
	ch |= 0x20;
	return ch >= 'a' && ch <= 'f' ? ch - 'a' + 10 : -1;
}

/* Stores bytes up to the first pair that is not hexadecimal. */
int hex2bin(u8 *dest, const char *src, size_t count)
{
	for (; count--; src += 2) {
		int high = hex_to_bin(src[0]), low;

		if (high < 0)
			return -EINVAL;
		low = hex_to_bin(src[1]);
		if (low < 0)
			return -EINVAL;
		*dest++ = high << 4 | low;
	}
	return 0;
}

char *bin2hex(char *dest, const void *src, size_t count)
{
	const u8 *p = src;

	for (; count--; p++) {
		*dest++ = hex_asc[*p >> 4];
		*dest++ = hex_asc[*p & 15];
	}
	return dest;
}

/* A bounded line under construction: what does not fit is counted, not stored. */
struct line {
	char *text;
	size_t size, used;
};

static void line_put(struct line *line, char c)
{
	if (line->used + 1 < line->size)
		line->text[line->used] = c;
	line->used++;
}

static void line_put_group(struct line *line, const u8 *group, uint size)
{
	for (uint i = size; i--;) { /* native order: the last byte is the most significant */
		line_put(line, hex_asc[group[i] >> 4]);
		line_put(line, hex_asc[group[i] & 15]);
	}
}

static bool printable(u8 c)
{
	return c < 128 && c >= 32 && c != 127;
}

/*
 * One line of a dump: groups of groupsize bytes, then the characters from a fixed column. Returns the length of the
 * whole line, as snprintf does, also when it did not fit.
 */
int hex_dump_to_buffer(const void *buf, size_t len, int rowsize, int groupsize, char *text, size_t size, bool ascii)
{
	struct line line = { text, size, 0 };
	const u8 *bytes = buf;
	uint groups, column;

	if (rowsize != 16 && rowsize != 32)
		rowsize = 16;
	if (len > (size_t)rowsize)
		len = rowsize;
	if (groupsize != 1 && groupsize != 2 && groupsize != 4 && groupsize != 8)
		groupsize = 1;
	if (len % groupsize) /* no room for half a group */
		groupsize = 1;
	groups = len / groupsize;
	column = rowsize * 2 + rowsize / groupsize + 1;

	for (uint i = 0; i < groups; i++) {
		if (i)
			line_put(&line, ' ');
		line_put_group(&line, bytes + i * groupsize, groupsize);
	}
	if (ascii && len) {
		while (line.used < column)
			line_put(&line, ' ');
		for (size_t i = 0; i < len; i++)
			line_put(&line, printable(bytes[i]) ? bytes[i] : '.');
	}
	if (size)
		text[minimum(line.used, size - 1)] = '\0';
	return line.used;
}
