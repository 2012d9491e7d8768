/* Moving the ends of a linear socket buffer, and message headers (net/core/skbuff.c, net/netlink/). */
#include "skbuff.h"

void *skb_put(struct sk_buff *skb, uint len)
{
	void *old = skb_tail_pointer(skb);

	SKB(skb, tail, u32) += len;
	SKB(skb, len, u32) += len;
	if (SKB(skb, tail, u32) > SKB(skb, end, u32))
		import_skb_panic(skb, len, __builtin_return_address(0), false);
	return old;
}

void *skb_push(struct sk_buff *skb, uint len)
{
	SKB(skb, data, u8 *) -= len;
	SKB(skb, len, u32) += len;
	if (SKB(skb, data, u8 *) < SKB(skb, head, u8 *))
		import_skb_panic(skb, len, __builtin_return_address(0), true);
	return SKB(skb, data, u8 *);
}

void *skb_pull(struct sk_buff *skb, uint len)
{
	if (len > SKB(skb, len, u32))
		return NULL;
	SKB(skb, len, u32) -= len;
	if (SKB(skb, len, u32) < SKB(skb, data_len, u32))
		BUG();
	return SKB(skb, data, u8 *) += len;
}

void skb_trim(struct sk_buff *skb, uint len)
{
	if (SKB(skb, len, u32) > len) {
		SKB(skb, len, u32) = len;
		SKB(skb, tail, u32) = SKB(skb, data, u8 *) - SKB(skb, head, u8 *) + len;
	}
}

struct nlmsghdr *__nlmsg_put(struct sk_buff *skb, u32 portid, u32 seq, int type, int len, int flags)
{
	uint size = NLMSG_HDRLEN + len;
	struct nlmsghdr *nlh = skb_put(skb, NLA_ALIGN(size));

	*nlh = (struct nlmsghdr){ size, type, flags, seq, portid };
	memset((char *)nlh + size, 0, NLA_ALIGN(size) - size);
	return nlh;
}

void *genlmsg_put(struct sk_buff *skb, u32 portid, u32 seq, const char *family, int flags, u8 cmd)
{
	uint len = GENL_HDRLEN + *(u32 *)(family + import_offset_genl_hdrsize);
	struct nlmsghdr *nlh;
	u8 *header;

	if (skb_tailroom(skb) < NLA_ALIGN((int)(NLMSG_HDRLEN + len)))
		return NULL;
	nlh = __nlmsg_put(skb, portid, seq, *(u32 *)(family + import_offset_genl_id), len, flags);
	header = (u8 *)(nlh + 1);
	header[0] = cmd;
	header[1] = *(u32 *)(family + import_offset_genl_version);
	header[2] = header[3] = 0;
	return header + GENL_HDRLEN;
}
