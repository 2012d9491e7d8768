/* struct __kfifo, and the copies in and out that both kinds of queue use. */
#ifndef KFIFO_H
#define KFIFO_H

#include "imports.h"

struct __kfifo {
	uint in, out; /* run freely: their difference is what is queued */
	uint mask, esize;
	void *data;
};

static inline uint kfifo_unused(const struct __kfifo *fifo)
{
	return fifo->mask + 1 - (fifo->in - fifo->out);
}

/* All in elements, at a free-running position. The user copies return elements not copied, *copied is in bytes. */
INTERNAL void kfifo_copy_in(struct __kfifo *fifo, const void *src, uint len, uint position);
INTERNAL void kfifo_copy_out(struct __kfifo *fifo, void *dest, uint len, uint position);
INTERNAL ulong kfifo_copy_from_user(struct __kfifo *fifo, const void *from, uint len, uint position, uint *copied);
INTERNAL ulong kfifo_copy_to_user(struct __kfifo *fifo, void *to, uint len, uint position, uint *copied);

/* kfifo_record.c */
INTERNAL void kfifo_put_length(struct __kfifo *fifo, uint len, size_t recsize);
uint __kfifo_len_r(struct __kfifo *fifo, size_t recsize);
uint __kfifo_max_r(uint len, size_t recsize);

#endif
