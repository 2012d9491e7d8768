/* Walking scatter lists (lib/scatterlist.c). */
#include "scatterlist.h"

struct scatterlist *sg_next(struct scatterlist *sg)
{
	if (sg->page_link & SG_END)
		return NULL;
	sg++;
	if (sg->page_link & SG_CHAIN)
		sg = (struct scatterlist *)(sg->page_link & ~(ulong)(SG_CHAIN | SG_END));
	return sg;
}

int sg_nents(struct scatterlist *sg)
{
	int n = 0;

	for (; sg; sg = sg_next(sg))
		n++;
	return n;
}

int sg_nents_for_len(struct scatterlist *sg, u64 len)
{
	u64 total = 0;
	int n = 0;

	if (!len)
		return 0;
	for (; sg; sg = sg_next(sg)) {
		n++;
		total += sg->length;
		if (total >= len)
			return n;
	}
	return -EINVAL;
}

struct scatterlist *sg_last(struct scatterlist *sg, uint n)
{
	while (n-- > 1)
		sg = sg_next(sg);
	return sg;
}

void sg_init_table(struct scatterlist *sg, uint n)
{
	memset(sg, 0, n * sizeof(*sg));
	sg[n - 1].page_link = SG_END;
}
