/* Going through a scatterlist page by page (lib/scatterlist.c). */
#include "scatterlist.h"

struct sg_page_iter { struct scatterlist *sg; uint page, nents, advance; };

struct sg_mapping_iter {
	ulong page;
	u8 *addr;
	size_t length, consumed;
	struct sg_page_iter piter;
	uint offset, remaining, flags;
};

size_t sg_pcopy_from_buffer(struct scatterlist *sgl, uint nents, const void *buffer, size_t length, long skip);
size_t sg_pcopy_to_buffer(struct scatterlist *sgl, uint nents, void *buffer, size_t length, long skip);
int sg_nents(struct scatterlist *sg);

static uint pages(const struct scatterlist *sg)
{
	return (sg->offset + sg->length + PAGE_SIZE - 1) / PAGE_SIZE;
}

void __sg_page_iter_start(struct sg_page_iter *piter, struct scatterlist *sglist, uint nents, ulong page)
{
	*piter = (struct sg_page_iter){ .sg = sglist, .page = page, .nents = nents };
}

bool __sg_page_iter_next(struct sg_page_iter *piter)
{
	if (!piter->nents || !piter->sg)
		return false;
	piter->page += piter->advance;
	piter->advance = 1;
	while (piter->page >= pages(piter->sg)) {
		piter->page -= pages(piter->sg);
		piter->sg = sg_next(piter->sg);
		if (!--piter->nents || !piter->sg)
			return false;
	}
	return true;
}

void sg_miter_start(struct sg_mapping_iter *miter, struct scatterlist *sgl, uint nents, uint flags)
{
	memset(miter, 0, sizeof(*miter));
	miter->flags = flags;
	__sg_page_iter_start(&miter->piter, sgl, nents, 0);
}

void sg_miter_stop(struct sg_mapping_iter *miter)
{
	if (!miter->addr)
		return;
	miter->offset += miter->consumed;
	miter->remaining -= miter->consumed;
	miter->page = 0, miter->addr = NULL;
	miter->length = miter->consumed = 0;
}

static bool next_page(struct sg_mapping_iter *miter)
{
	struct scatterlist *sg;
	uint left;

	if (miter->remaining)
		return true;
	if (!__sg_page_iter_next(&miter->piter))
		return false;
	sg = miter->piter.sg;
	miter->offset = miter->piter.page ? 0 : sg->offset;
	miter->piter.page += miter->offset / PAGE_SIZE;
	miter->offset %= PAGE_SIZE;
	left = sg->offset + sg->length - miter->piter.page * PAGE_SIZE - miter->offset;
	miter->remaining = left < PAGE_SIZE - miter->offset ? left : PAGE_SIZE - miter->offset;
	return true;
}

bool sg_miter_skip(struct sg_mapping_iter *miter, long offset)
{
	sg_miter_stop(miter);
	while (offset) {
		long step;

		if (!next_page(miter))
			return false;
		step = offset < (long)miter->remaining ? offset : (long)miter->remaining;
		miter->offset += step;
		miter->remaining -= step;
		offset -= step;
	}
	return true;
}

bool sg_miter_next(struct sg_mapping_iter *miter)
{
	u8 *start;

	sg_miter_stop(miter);
	if (!next_page(miter))
		return false;
	start = sg_virt(miter->piter.sg) - miter->piter.sg->offset + miter->piter.page * PAGE_SIZE;
	miter->page = page_of(start);
	miter->addr = start + miter->offset;
	miter->consumed = miter->length = miter->remaining;
	return true;
}

/* crypto/scatterwalk.c: either way. */
void scatterwalk_map_and_copy(void *buf, struct scatterlist *sg, uint start, uint nbytes, int out)
{
	if (out)
		sg_pcopy_from_buffer(sg, sg_nents(sg), buf, nbytes, start);
	else
		sg_pcopy_to_buffer(sg, sg_nents(sg), buf, nbytes, start);
}
