/* Scatter lists of a queue's free or used part, for devices that copy themselves (lib/kfifo.c). */
#include "kfifo.h"
#include "scatterlist.h"

static uint add(struct scatterlist *sgl, void *start, uint bytes)
{
	if (!bytes)
		return 0;
	sg_set_buf(sgl, start, bytes);
	return 1;
}

/* At most two pieces: the buffer is contiguous. Returns how many entries were filled. */
static uint set_up(struct __kfifo *fifo, struct scatterlist *sgl, int nents, uint len, uint position)
{
	uint size = (fifo->mask + 1) * fifo->esize, offset = (position & fifo->mask) * fifo->esize;
	uint bytes = len * fifo->esize, first = minimum(bytes, size - offset), filled;

	if (!nents)
		BUG();
	filled = add(sgl, (u8 *)fifo->data + offset, first);
	if (filled < (uint)nents)
		filled += add(sgl + filled, fifo->data, bytes - first);
	return filled;
}

uint __kfifo_dma_in_prepare(struct __kfifo *fifo, struct scatterlist *sgl, int nents, uint len)
{
	return set_up(fifo, sgl, nents, minimum(len, kfifo_unused(fifo)), fifo->in);
}

uint __kfifo_dma_out_prepare(struct __kfifo *fifo, struct scatterlist *sgl, int nents, uint len)
{
	return set_up(fifo, sgl, nents, minimum(len, fifo->in - fifo->out), fifo->out);
}

uint __kfifo_dma_in_prepare_r(struct __kfifo *fifo, struct scatterlist *sgl, int nents, uint len, size_t recsize)
{
	len = __kfifo_max_r(len, recsize);
	if (len + recsize > kfifo_unused(fifo))
		return 0;
	return set_up(fifo, sgl, nents, len, fifo->in + recsize);
}

void __kfifo_dma_in_finish_r(struct __kfifo *fifo, uint len, size_t recsize)
{
	len = __kfifo_max_r(len, recsize);
	kfifo_put_length(fifo, len, recsize);
	fifo->in += len + recsize;
}

uint __kfifo_dma_out_prepare_r(struct __kfifo *fifo, struct scatterlist *sgl, int nents, uint len, size_t recsize)
{
	len = __kfifo_max_r(len, recsize);
	if (len + recsize > fifo->in - fifo->out)
		return 0;
	return set_up(fifo, sgl, nents, len, fifo->out + recsize);
}

void __kfifo_dma_out_finish_r(struct __kfifo *fifo, size_t recsize)
{
	fifo->out += __kfifo_len_r(fifo, recsize) + recsize;
}
