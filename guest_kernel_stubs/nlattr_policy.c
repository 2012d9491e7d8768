/*
 * Attributes checked against a policy (lib/nlattr.c). The texts are those that user space gets in an extended
 * acknowledgement, so they are the kernel's.
 */
#include "sched.h"
#include "skbuff.h"

enum {
	NLA_UNSPEC, NLA_U8, NLA_U16, NLA_U32, NLA_U64, NLA_STRING, NLA_FLAG, NLA_MSECS, NLA_NESTED, NLA_NESTED_ARRAY,
	NLA_NUL_STRING, NLA_BINARY, NLA_S8, NLA_S16, NLA_S32, NLA_S64, NLA_BITFIELD32, NLA_REJECT, NLA_BE16, NLA_BE32,
	NLA_SINT, NLA_UINT, NLA_TYPES
};
enum { NONE, RANGE, RANGE_WARN_TOO_LONG, MIN, MAX, MASK, RANGE_PTR, FUNCTION };
enum { TRAILING = 1, MAXTYPE = 2, UNSPEC = 4, STRICT_ATTRS = 8, NESTED = 16, STRICT = 31 };
enum { MOST_NESTED = 10 };

struct netlink_ext_ack {
	const char *msg;
	const struct nlattr *bad_attr;
	const struct nla_policy *policy;
};

struct nla_policy {
	u8 type, validation_type;
	u16 len;
	union {
		u16 strict_start_type;
		u32 mask;
		const char *reject_message;
		const struct nla_policy *nested;
		const struct { u64 min, max; } *range;
		const struct { s64 min, max; } *range_signed;
		struct { s16 min, max; };
		int (*validate)(const struct nlattr *attr, struct netlink_ext_ack *extack);
	};
};

/* Bytes that a type has at least; where exact, a longer one is complained of. */
static const u8 minimum_len[NLA_TYPES] = {
	[NLA_U8] = 1, [NLA_U16] = 2, [NLA_U32] = 4, [NLA_U64] = 8, [NLA_MSECS] = 8, [NLA_NESTED] = NLA_HDRLEN,
	[NLA_S8] = 1, [NLA_S16] = 2, [NLA_S32] = 4, [NLA_S64] = 8, [NLA_BE16] = 2, [NLA_BE32] = 4,
};

static bool exact(int type) { return minimum_len[type] && type != NLA_MSECS && type != NLA_NESTED; }

static int complain(struct netlink_ext_ack *extack, const struct nlattr *nla, const struct nla_policy *pt,
		    const char *msg, int error)
{
	if (extack) {
		extack->msg = msg;
		extack->bad_attr = nla;
		extack->policy = pt;
	}
	return error;
}

static void warn_length(int type)
{
	import__printk("\001" "4netlink: '%s': attribute type %d has an invalid length.\n",
		       (char *)current + import_offset_comm, type);
}

/* The number in an attribute, sign or zero extended; a binary's is its length. */
static u64 number(const struct nlattr *nla, int type)
{
	const void *data = nla_data(nla);

	switch (type) {
	case NLA_U8: return *(u8 *)data;
	case NLA_U16: return *(u16 *)data;
	case NLA_U32: return *(u32 *)data;
	case NLA_S8: return *(s8 *)data;
	case NLA_S16: return *(s16 *)data;
	case NLA_S32: return *(s32 *)data;
	case NLA_BE16: return __builtin_bswap16(*(u16 *)data);
	case NLA_BE32: return __builtin_bswap32(*(u32 *)data);
	case NLA_BINARY: return nla_len(nla);
	case NLA_UINT: return nla_len(nla) == 4 ? *(u32 *)data : *(u64 *)data;
	case NLA_SINT: return nla_len(nla) == 4 ? *(s32 *)data : *(s64 *)data;
	default: return *(u64 *)data;
	}
}

static bool is_signed(int type) { return (type >= NLA_S8 && type <= NLA_S64) || type == NLA_SINT; }

static bool outside(const struct nla_policy *pt, u64 value)
{
	bool has_min = pt->validation_type != MAX, has_max = pt->validation_type != MIN;
	s64 low = pt->min, high = pt->max;

	if (is_signed(pt->type)) {
		if (pt->validation_type == RANGE_PTR)
			low = pt->range_signed->min, high = pt->range_signed->max;
		return (has_min && (s64)value < low) || (has_max && (s64)value > high);
	}
	if (pt->validation_type == RANGE_PTR)
		low = pt->range->min, high = pt->range->max;
	return (has_min && value < (u64)low) || (has_max && value > (u64)high);
}

static int check_range(const struct nla_policy *pt, const struct nlattr *nla, struct netlink_ext_ack *extack,
		       uint validate)
{
	u64 value = number(nla, pt->type);
	bool binary = pt->type == NLA_BINARY;

	if (pt->validation_type == RANGE_WARN_TOO_LONG && binary && value > (u64)pt->max) {
		warn_length(pt->type);
		if (validate & STRICT_ATTRS)
			return complain(extack, nla, pt, "invalid attribute length", -EINVAL);
		return 0;
	}
	if (!outside(pt, value))
		return 0;
	return complain(extack, nla, pt, binary ? "binary attribute size out of range" : "integer out of range", -ERANGE);
}

static int parse(const struct nlattr *head, int len, int maxtype, const struct nla_policy *policy, uint validate,
		 struct netlink_ext_ack *extack, const struct nlattr **tb, uint depth);

static int check_array(const struct nla_policy *pt, const struct nlattr *nla, struct netlink_ext_ack *extack,
		       uint validate, uint depth)
{
	const struct nlattr *entry;
	int left;

	for_each_nla(entry, nla_data(nla), nla_len(nla), left) {
		int error;

		if (!nla_len(entry))
			continue;
		if (nla_len(entry) < NLA_HDRLEN)
			return complain(extack, entry, pt->nested, "Array element too short", -ERANGE);
		error = parse(nla_data(entry), nla_len(entry), pt->len, pt->nested, validate, extack, NULL, depth + 1);
		if (error < 0)
			return error;
	}
	return 0;
}

/* What depends on the type alone: 0, or a negative errno, which is `complained` of already or not. */
static int check_type(const struct nla_policy *pt, const struct nlattr *nla, uint validate,
		      struct netlink_ext_ack *extack, uint depth, bool *complained)
{
	const char *data = nla_data(nla);
	int len = nla_len(nla);

	*complained = false;
	switch (pt->type) {
	case NLA_REJECT:
		if (extack && pt->reject_message) {
			extack->bad_attr = nla;
			extack->msg = pt->reject_message;
			*complained = true;
		}
		return -EINVAL;
	case NLA_FLAG:
		return len > 0 ? -ERANGE : 0;
	case NLA_SINT:
	case NLA_UINT:
		return len != 4 && len != 8 ? -ERANGE : 0;
	case NLA_BITFIELD32: {
		u32 value, selector;

		if (len != 8)
			return -ERANGE;
		value = load32(data);
		selector = load32(data + 4);
		return !pt->mask || (value & ~pt->mask) || (selector & ~pt->mask) || (value & ~selector) ? -EINVAL : 0;
	}
	case NLA_NUL_STRING: {
		int most = pt->len && pt->len + 1 < len ? pt->len + 1 : len;

		if (!most || strnlen(data, most) == (size_t)most)
			return -EINVAL;
	}
		/* fall through */
	case NLA_STRING:
		if (len < 1)
			return -ERANGE;
		return pt->len && len - !data[len - 1] > pt->len ? -ERANGE : 0;
	case NLA_BINARY:
		return pt->len && len > pt->len ? -ERANGE : 0;
	case NLA_NESTED:
	case NLA_NESTED_ARRAY:
		if (!len)
			return 0;
		if (len < NLA_HDRLEN)
			return -ERANGE;
		if (!pt->nested)
			return 0;
		*complained = true;
		if (pt->type == NLA_NESTED_ARRAY)
			return check_array(pt, nla, extack, validate, depth);
		return parse(nla_data(nla), len, pt->len, pt->nested, validate, extack, NULL, depth + 1);
	case NLA_UNSPEC:
		if (validate & UNSPEC) {
			*complained = true;
			return complain(extack, nla, NULL, "Unsupported attribute", -EINVAL);
		}
		return len < pt->len ? -ERANGE : 0;
	default:
		return len < (pt->len ? pt->len : minimum_len[pt->type]) ? -ERANGE : 0;
	}
}

static int check(const struct nlattr *nla, int maxtype, const struct nla_policy *policy, uint validate,
		 struct netlink_ext_ack *extack, uint depth)
{
	int type = nla_type(nla), error;
	u16 strict_from = policy[0].strict_start_type;
	const struct nla_policy *pt = &policy[type];
	bool nest, complained;

	if (strict_from && type >= strict_from)
		validate |= STRICT;
	if (type <= 0 || type > maxtype)
		return 0;
	if (pt->type >= NLA_TYPES)
		BUG();
	if (exact(pt->type) && nla_len(nla) != minimum_len[pt->type]) {
		warn_length(type);
		if (validate & STRICT_ATTRS)
			return complain(extack, nla, pt, "invalid attribute length", -EINVAL);
	}
	nest = pt->type == NLA_NESTED || pt->type == NLA_NESTED_ARRAY;
	if (validate & NESTED) {
		if (nest && !(nla->nla_type & NLA_F_NESTED))
			return complain(extack, nla, pt, "NLA_F_NESTED is missing", -EINVAL);
		if (!nest && pt->type != NLA_UNSPEC && (nla->nla_type & NLA_F_NESTED))
			return complain(extack, nla, pt, "NLA_F_NESTED not expected", -EINVAL);
	}
	error = check_type(pt, nla, validate, extack, depth, &complained);
	if (error && !complained)
		return complain(extack, nla, pt, "Attribute failed policy validation", error);
	if (error)
		return error;
	switch (pt->validation_type) {
	case RANGE: case RANGE_WARN_TOO_LONG: case MIN: case MAX: case RANGE_PTR:
		return check_range(pt, nla, extack, validate);
	case MASK:
		if (number(nla, pt->type) & ~(u64)pt->mask)
			return complain(extack, nla, pt, "reserved bit set", -EINVAL);
		return 0;
	case FUNCTION:
		return pt->validate ? pt->validate(nla, extack) : 0;
	}
	return 0;
}

static int parse(const struct nlattr *head, int len, int maxtype, const struct nla_policy *policy, uint validate,
		 struct netlink_ext_ack *extack, const struct nlattr **tb, uint depth)
{
	const struct nlattr *nla;
	int left;

	if (depth >= MOST_NESTED) {
		if (extack)
			extack->msg = "allowed policy recursion depth exceeded";
		return -EINVAL;
	}
	if (tb)
		memset(tb, 0, sizeof(*tb) * (maxtype + 1));
	for_each_nla(nla, head, len, left) {
		int type = nla_type(nla);

		if (!type || type > maxtype) {
			if (validate & MAXTYPE)
				return complain(extack, nla, NULL, "Unknown attribute type", -EINVAL);
			continue;
		}
		if (policy) {
			int error = check(nla, maxtype, policy, validate, extack, depth);

			if (error < 0)
				return error;
		}
		if (tb)
			tb[type] = nla;
	}
	if (left > 0) {
		import__printk("\001" "4netlink: %d bytes leftover after parsing attributes in process `%s'.\n", left,
			       (char *)current + import_offset_comm);
		if (extack)
			extack->msg = "bytes leftover after parsing attributes";
		if (validate & TRAILING)
			return -EINVAL;
	}
	return 0;
}

int __nla_validate(const struct nlattr *head, int len, int maxtype, const struct nla_policy *policy, uint validate,
		   struct netlink_ext_ack *extack)
{
	return parse(head, len, maxtype, policy, validate, extack, NULL, 0);
}

int __nla_parse(const struct nlattr **tb, int maxtype, const struct nlattr *head, int len,
		const struct nla_policy *policy, uint validate, struct netlink_ext_ack *extack)
{
	return parse(head, len, maxtype, policy, validate, extack, tb, 0);
}

int nla_policy_len(const struct nla_policy *p, int n)
{
	int len = 0;

	for (; n > 0; n--, p++) {
		uint one = p->len ? p->len : minimum_len[p->type];

		if (one)
			len += nla_total_size(one);
	}
	return len;
}
