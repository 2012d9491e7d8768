/* struct scatterlist. Bit 0 of page_link: a link to another list; bit 1: the last entry. */
#ifndef SCATTERLIST_H
#define SCATTERLIST_H

#include "stubs.h"

enum { SG_CHAIN = 1, SG_END = 2 };

struct scatterlist {
	ulong page_link;
	uint offset, length;
	u64 dma_address;
	uint dma_length, dma_flags;
};

struct sg_table { struct scatterlist *sgl; uint nents, orig_nents; };

/* Pages of the direct map and their struct page. */
static inline ulong page_of(const void *address)
{
	return 0xffffea0000000000ul + (((ulong)address - 0xffff888000000000ul) >> 12) * 64;
}

static inline u8 *sg_virt(const struct scatterlist *sg)
{
	ulong page = (sg->page_link & ~(ulong)(SG_CHAIN | SG_END)) - 0xffffea0000000000ul;

	return (u8 *)(0xffff888000000000ul + page / 64 * PAGE_SIZE) + sg->offset;
}

static inline void sg_set_buf(struct scatterlist *sg, const void *start, uint length)
{
	sg->page_link = (sg->page_link & (SG_CHAIN | SG_END)) | page_of(start);
	sg->offset = (ulong)start % PAGE_SIZE;
	sg->length = length;
}

struct scatterlist *sg_next(struct scatterlist *sg);
void sg_init_table(struct scatterlist *sg, uint n);

#endif
