/* Queues of records: each is preceded by its length, in one or two bytes (lib/kfifo.c, the *_r functions). */
#include "kfifo.h"

static u8 *length_byte(struct __kfifo *fifo, uint position)
{
	return (u8 *)fifo->data + (position & fifo->mask);
}

uint __kfifo_len_r(struct __kfifo *fifo, size_t recsize)
{
	uint len = *length_byte(fifo, fifo->out);

	return recsize > 1 ? len | *length_byte(fifo, fifo->out + 1) << 8 : len;
}

INTERNAL void kfifo_put_length(struct __kfifo *fifo, uint len, size_t recsize)
{
	*length_byte(fifo, fifo->in) = len;
	if (recsize > 1)
		*length_byte(fifo, fifo->in + 1) = len >> 8;
}

uint __kfifo_max_r(uint len, size_t recsize)
{
	return minimum(len, (1u << (8 * recsize)) - 1);
}

uint __kfifo_in_r(struct __kfifo *fifo, const void *buf, uint len, size_t recsize)
{
	if (len + recsize > kfifo_unused(fifo))
		return 0;
	kfifo_put_length(fifo, len, recsize);
	kfifo_copy_in(fifo, buf, len, fifo->in + recsize);
	fifo->in += len + recsize;
	return len;
}

uint __kfifo_out_peek_r(struct __kfifo *fifo, void *buf, uint len, size_t recsize)
{
	if (fifo->in == fifo->out)
		return 0;
	len = minimum(len, __kfifo_len_r(fifo, recsize));
	kfifo_copy_out(fifo, buf, len, fifo->out + recsize);
	return len;
}

/* The whole record goes, also when buf is too small for it. */
void __kfifo_skip_r(struct __kfifo *fifo, size_t recsize)
{
	fifo->out += __kfifo_len_r(fifo, recsize) + recsize;
}

uint __kfifo_out_r(struct __kfifo *fifo, void *buf, uint len, size_t recsize)
{
	if (fifo->in == fifo->out)
		return 0;
	len = __kfifo_out_peek_r(fifo, buf, len, recsize);
	__kfifo_skip_r(fifo, recsize);
	return len;
}

uint __kfifo_out_linear_r(struct __kfifo *fifo, uint *tail, uint len, size_t recsize)
{
	if (fifo->in == fifo->out)
		return 0;
	if (tail)
		*tail = fifo->out + recsize;
	return minimum(len, __kfifo_len_r(fifo, recsize));
}

int __kfifo_from_user_r(struct __kfifo *fifo, const void *from, ulong len, uint *copied, size_t recsize)
{
	*copied = 0;
	len = __kfifo_max_r(len, recsize);
	if (len + recsize > kfifo_unused(fifo))
		return 0;
	kfifo_put_length(fifo, len, recsize);
	if (kfifo_copy_from_user(fifo, from, len, fifo->in + recsize, copied)) {
		*copied = 0;
		return -EFAULT;
	}
	fifo->in += len + recsize;
	return 0;
}

int __kfifo_to_user_r(struct __kfifo *fifo, void *to, ulong len, uint *copied, size_t recsize)
{
	*copied = 0;
	if (fifo->in == fifo->out)
		return 0;
	len = minimum(len, __kfifo_len_r(fifo, recsize));
	if (kfifo_copy_to_user(fifo, to, len, fifo->out + recsize, copied)) {
		*copied = 0;
		return -EFAULT;
	}
	__kfifo_skip_r(fifo, recsize);
	return 0;
}
