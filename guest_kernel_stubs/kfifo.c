/* Queues of elements of one size (lib/kfifo.c). */
#include "kfifo.h"

/* A copy may wrap: `first` bytes at `start` of the buffer, the rest at its beginning. */
struct span { u8 *start; uint first, rest; };

static struct span span_of(const struct __kfifo *fifo, uint len, uint position)
{
	uint size = (fifo->mask + 1) * fifo->esize, offset = (position & fifo->mask) * fifo->esize;
	uint bytes = len * fifo->esize, first = minimum(bytes, size - offset);

	return (struct span){ (u8 *)fifo->data + offset, first, bytes - first };
}

INTERNAL void kfifo_copy_in(struct __kfifo *fifo, const void *src, uint len, uint position)
{
	struct span span = span_of(fifo, len, position);

	memcpy(span.start, src, span.first);
	memcpy(fifo->data, (const u8 *)src + span.first, span.rest);
}

INTERNAL void kfifo_copy_out(struct __kfifo *fifo, void *dest, uint len, uint position)
{
	struct span span = span_of(fifo, len, position);

	memcpy(dest, span.start, span.first);
	memcpy((u8 *)dest + span.first, fifo->data, span.rest);
}

/* Elements that are missing, in part or whole, when `bytes` were not copied. */
static ulong elements_missing(const struct __kfifo *fifo, ulong bytes, uint len, uint *copied)
{
	ulong missing = (bytes + fifo->esize - 1) / fifo->esize;

	*copied = (len - missing) * fifo->esize;
	return missing;
}

INTERNAL ulong kfifo_copy_from_user(struct __kfifo *fifo, const void *from, uint len, uint position, uint *copied)
{
	struct span span = span_of(fifo, len, position);
	ulong missing = import__copy_from_user(span.start, from, span.first);

	if (missing)
		missing += span.rest;
	else if (span.rest)
		missing = import__copy_from_user(fifo->data, (const u8 *)from + span.first, span.rest);
	return elements_missing(fifo, missing, len, copied);
}

INTERNAL ulong kfifo_copy_to_user(struct __kfifo *fifo, void *to, uint len, uint position, uint *copied)
{
	struct span span = span_of(fifo, len, position);
	ulong missing = import__copy_to_user(to, span.start, span.first);

	if (missing)
		missing += span.rest;
	else if (span.rest)
		missing = import__copy_to_user((u8 *)to + span.first, fifo->data, span.rest);
	return elements_missing(fifo, missing, len, copied);
}

static int set_up(struct __kfifo *fifo, void *data, uint size, size_t esize)
{
	fifo->in = fifo->out = 0;
	fifo->esize = esize;
	fifo->data = data;
	fifo->mask = size < 2 ? 0 : size - 1;
	return size < 2 ? -EINVAL : 0;
}

/* size: elements, made a power of two. */
int __kfifo_alloc(struct __kfifo *fifo, uint size, size_t esize, uint gfp)
{
	uint rounded = size > 1 ? 1ull << fls64(size - 1) : size;
	int err = set_up(fifo, NULL, rounded, esize);

	if (err)
		return err;
	fifo->data = import___kmalloc(esize * rounded, gfp);
	if (!fifo->data) {
		fifo->mask = 0;
		return -ENOMEM;
	}
	return 0;
}

void __kfifo_free(struct __kfifo *fifo)
{
	import_kfree(fifo->data);
	set_up(fifo, NULL, 0, 0);
}

/* size: bytes of buffer. */
int __kfifo_init(struct __kfifo *fifo, void *buffer, uint size, size_t esize)
{
	size /= esize;
	return set_up(fifo, buffer, size ? 1u << (fls64(size) - 1) : 0, esize);
}

uint __kfifo_in(struct __kfifo *fifo, const void *buf, uint len)
{
	len = minimum(len, kfifo_unused(fifo));
	kfifo_copy_in(fifo, buf, len, fifo->in);
	fifo->in += len;
	return len;
}

uint __kfifo_out_peek(struct __kfifo *fifo, void *buf, uint len)
{
	len = minimum(len, fifo->in - fifo->out);
	kfifo_copy_out(fifo, buf, len, fifo->out);
	return len;
}

uint __kfifo_out(struct __kfifo *fifo, void *buf, uint len)
{
	len = __kfifo_out_peek(fifo, buf, len);
	fifo->out += len;
	return len;
}

uint __kfifo_out_linear(struct __kfifo *fifo, uint *tail, uint len)
{
	uint offset = fifo->out & fifo->mask;

	if (tail)
		*tail = offset;
	return minimum(len, minimum(fifo->in - fifo->out, fifo->mask + 1 - offset));
}

int __kfifo_from_user(struct __kfifo *fifo, const void *from, ulong bytes, uint *copied)
{
	uint len = minimum(bytes / fifo->esize, kfifo_unused(fifo));
	ulong missing = kfifo_copy_from_user(fifo, from, len, fifo->in, copied);

	fifo->in += len - missing;
	return missing ? -EFAULT : 0;
}

int __kfifo_to_user(struct __kfifo *fifo, void *to, ulong bytes, uint *copied)
{
	uint len = minimum(bytes / fifo->esize, fifo->in - fifo->out);
	ulong missing = kfifo_copy_to_user(fifo, to, len, fifo->out, copied);

	fifo->out += len - missing;
	return missing ? -EFAULT : 0;
}
