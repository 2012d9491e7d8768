/* What the network files share of `struct sk_buff` and netlink's attributes; where members lie, the loader says. */
#ifndef SKBUFF_H
#define SKBUFF_H

#include "imports.h"

struct sk_buff;

IMPORT_VALUE(ulong, offset_skb_len, "offsetof sk_buff.len");
IMPORT_VALUE(ulong, offset_skb_data_len, "offsetof sk_buff.data_len");
IMPORT_VALUE(ulong, offset_skb_tail, "offsetof sk_buff.tail");
IMPORT_VALUE(ulong, offset_skb_end, "offsetof sk_buff.end");
IMPORT_VALUE(ulong, offset_skb_head, "offsetof sk_buff.head");
IMPORT_VALUE(ulong, offset_skb_data, "offsetof sk_buff.data");
IMPORT_VALUE(ulong, offset_genl_id, "offsetof genl_family.id");
IMPORT_VALUE(ulong, offset_genl_hdrsize, "offsetof genl_family.hdrsize");
IMPORT_VALUE(ulong, offset_genl_version, "offsetof genl_family.version");
IMPORT_VALUE(ulong, offset_comm, "offsetof task_struct.comm");
IMPORT(void, skb_panic, (struct sk_buff *skb, uint size, void *caller, bool under));

#define SKB(skb, member, type) (*(type *)((char *)(skb) + import_offset_skb_##member))

static inline u8 *skb_tail_pointer(struct sk_buff *skb) { return SKB(skb, head, u8 *) + SKB(skb, tail, u32); }

static inline int skb_tailroom(struct sk_buff *skb)
{
	return SKB(skb, data_len, u32) ? 0 : SKB(skb, end, u32) - SKB(skb, tail, u32);
}

enum { NLMSG_HDRLEN = 16, NLA_HDRLEN = 4, GENL_HDRLEN = 4, EMSGSIZE = 90 };
enum { NLA_F_NESTED = 0x8000, NLA_TYPE_MASK = 0x3fff };
#define NLA_ALIGN(len) (((len) + 3) & ~3)

struct nlmsghdr { u32 len; u16 type, flags; u32 seq, pid; };
struct nlattr { u16 nla_len, nla_type; };

static inline int nla_len(const struct nlattr *nla) { return nla->nla_len - NLA_HDRLEN; }
static inline int nla_type(const struct nlattr *nla) { return nla->nla_type & NLA_TYPE_MASK; }
static inline void *nla_data(const struct nlattr *nla) { return (char *)nla + NLA_HDRLEN; }
static inline int nla_total_size(int payload) { return NLA_ALIGN(NLA_HDRLEN + payload); }

static inline bool nla_ok(const struct nlattr *nla, int left)
{
	return left >= NLA_HDRLEN && nla->nla_len >= NLA_HDRLEN && nla->nla_len <= left;
}

static inline const struct nlattr *nla_next(const struct nlattr *nla, int *left)
{
	*left -= NLA_ALIGN(nla->nla_len);
	return (const struct nlattr *)((char *)nla + NLA_ALIGN(nla->nla_len));
}

#define for_each_nla(nla, head, len, left) \
	for (nla = head, left = len; nla_ok(nla, left); nla = nla_next(nla, &left))

/* skbuff.c */
void *skb_put(struct sk_buff *skb, uint len);

#endif
