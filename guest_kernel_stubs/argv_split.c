/* Words of a string, and memory in its most used shapes (lib/argv_split.c, lib/string_helpers.c, lib/bitmap.c). */
#include "imports.h"

enum { GFP_ZERO = 0x100 };

/* One block: the pointers, the first of them to the block's own copy of the text, and behind it the text. */
char **argv_split(uint gfp, const char *str, int *argcp)
{
	size_t length = strnlen(str, PAGE_SIZE * 1024) + 1;
	int argc = 0, n = 0;
	char **argv, *copy;
	bool inside = false;

	for (const char *s = str; *s; s++) {
		if (!isspace(*s) && !inside)
			argc++;
		inside = !isspace(*s);
	}
	argv = import___kmalloc((argc + 2) * sizeof(char *) + length, gfp);
	if (!argv)
		return NULL;
	copy = (char *)(argv + argc + 2);
	memcpy(copy, str, length);
	*argv++ = copy;
	inside = false;
	for (; *copy; copy++) {
		if (isspace(*copy)) {
			inside = false;
			*copy = '\0';
		} else if (!inside) {
			inside = true;
			argv[n++] = copy;
		}
	}
	argv[n] = NULL;
	if (argcp)
		*argcp = argc;
	return argv;
}

void argv_free(char **argv) { import_kfree(argv - 1); }

void kfree_strarray(char **array, size_t n)
{
	if (!array)
		return;
	for (size_t i = 0; i < n; i++)
		import_kfree(array[i]);
	import_kfree(array);
}

static size_t bytes_of(uint nbits) { return (nbits + BITS_PER_LONG - 1) / BITS_PER_LONG * sizeof(long); }

ulong *bitmap_alloc(uint nbits, uint gfp) { return import___kmalloc(bytes_of(nbits), gfp); }
ulong *bitmap_zalloc(uint nbits, uint gfp) { return import___kmalloc(bytes_of(nbits), gfp | GFP_ZERO); }
ulong *bitmap_alloc_node(uint nbits, uint gfp, int node) { return (void)node, bitmap_alloc(nbits, gfp); }
ulong *bitmap_zalloc_node(uint nbits, uint gfp, int node) { return (void)node, bitmap_zalloc(nbits, gfp); }
void bitmap_free(const ulong *bitmap) { import_kfree(bitmap); }
