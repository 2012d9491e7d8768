/* Tables of scatter lists, and copying into and out of them (lib/scatterlist.c). */
#include "imports.h"
#include "scatterlist.h"

void sg_init_one(struct scatterlist *sg, const void *buffer, uint length)
{
	sg_init_table(sg, 1);
	sg_set_buf(sg, buffer, length);
}

/* The list is in one piece, however long: nothing on this machine needs it in pages. */
int sg_alloc_table(struct sg_table *table, uint nents, uint gfp)
{
	memset(table, 0, sizeof(*table));
	if (!nents)
		return -EINVAL;
	table->sgl = import___kmalloc(nents * sizeof(struct scatterlist), gfp);
	if (!table->sgl)
		return -ENOMEM;
	sg_init_table(table->sgl, nents);
	table->nents = table->orig_nents = nents;
	return 0;
}

void sg_free_table(struct sg_table *table)
{
	import_kfree(table->sgl);
	table->sgl = NULL;
	table->nents = table->orig_nents = 0;
}

/* Calls for each piece of a range of the list; returns the bytes. */
static size_t each(struct scatterlist *sgl, uint nents, size_t skip, size_t length, u8 *buffer, bool to_buffer)
{
	size_t done = 0;

	for (; sgl && nents && done < length; nents--, sgl = sg_next(sgl)) {
		size_t piece;

		if (skip >= sgl->length) {
			skip -= sgl->length;
			continue;
		}
		piece = minimum(sgl->length - skip, length - done);
		if (!buffer)
			memset(sg_virt(sgl) + skip, 0, piece);
		else if (to_buffer)
			memcpy(buffer + done, sg_virt(sgl) + skip, piece);
		else
			memcpy(sg_virt(sgl) + skip, buffer + done, piece);
		done += piece;
		skip = 0;
	}
	return done;
}

size_t sg_copy_buffer(struct scatterlist *sgl, uint nents, void *buffer, size_t length, long skip, bool to_buffer)
{
	return each(sgl, nents, skip, length, buffer, to_buffer);
}

size_t sg_copy_from_buffer(struct scatterlist *sgl, uint nents, const void *buffer, size_t length)
{
	return each(sgl, nents, 0, length, (u8 *)buffer, false);
}

size_t sg_copy_to_buffer(struct scatterlist *sgl, uint nents, void *buffer, size_t length)
{
	return each(sgl, nents, 0, length, buffer, true);
}

size_t sg_pcopy_from_buffer(struct scatterlist *sgl, uint nents, const void *buffer, size_t length, long skip)
{
	return each(sgl, nents, skip, length, (u8 *)buffer, false);
}

size_t sg_pcopy_to_buffer(struct scatterlist *sgl, uint nents, void *buffer, size_t length, long skip)
{
	return each(sgl, nents, skip, length, buffer, true);
}

size_t sg_zero_buffer(struct scatterlist *sgl, uint nents, size_t length, long skip)
{
	return each(sgl, nents, skip, length, NULL, false);
}
