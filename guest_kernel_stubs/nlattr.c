/* Netlink attributes: reading and writing them (lib/nlattr.c). The checks of a policy are in nlattr_policy.c. */
#include "skbuff.h"

struct nlattr *nla_find(const struct nlattr *head, int len, int attrtype)
{
	const struct nlattr *nla;
	int left;

	for_each_nla(nla, head, len, left)
		if (nla_type(nla) == attrtype)
			return (struct nlattr *)nla;
	return NULL;
}

/* Bytes of a string attribute, without the NUL that may be its last. */
static int text_len(const struct nlattr *nla)
{
	int len = nla_len(nla);

	return len > 0 && !((char *)nla_data(nla))[len - 1] ? len - 1 : len;
}

ssize_t nla_strscpy(char *dst, const struct nlattr *nla, size_t dstsize)
{
	size_t len = text_len(nla), copied;

	if (!dstsize || dstsize > 0xffff)
		return -E2BIG;
	copied = len < dstsize ? len : dstsize - 1;
	memcpy(dst, nla_data(nla), copied);
	memset(dst + copied, 0, dstsize - copied);
	return len < dstsize ? (ssize_t)len : -E2BIG;
}

/* The name before 5.11, which answers how long the text is. */
size_t nla_strlcpy(char *dst, const struct nlattr *nla, size_t dstsize)
{
	nla_strscpy(dst, nla, dstsize);
	return text_len(nla);
}

char *nla_strdup(const struct nlattr *nla, uint flags)
{
	size_t len = text_len(nla);
	char *copy = import___kmalloc(len + 1, flags);

	if (copy) {
		memcpy(copy, nla_data(nla), len);
		copy[len] = '\0';
	}
	return copy;
}

int nla_memcpy(void *dest, const struct nlattr *src, int count)
{
	int len = count < nla_len(src) ? count : nla_len(src);

	memcpy(dest, nla_data(src), len);
	if (count > len)
		memset((char *)dest + len, 0, count - len);
	return len;
}

int nla_memcmp(const struct nlattr *nla, const void *data, size_t size)
{
	int d = nla_len(nla) - size;

	return d ? d : memcmp(nla_data(nla), data, size);
}

int nla_strcmp(const struct nlattr *nla, const char *str)
{
	int len = strlen(str), d = text_len(nla) - len;

	return d ? d : memcmp(nla_data(nla), str, len);
}

/* --- writing: the double underscore stands for "there is room, the caller has looked" --- */

struct nlattr *__nla_reserve(struct sk_buff *skb, int attrtype, int attrlen)
{
	struct nlattr *nla = skb_put(skb, nla_total_size(attrlen));

	nla->nla_type = attrtype;
	nla->nla_len = NLA_HDRLEN + attrlen;
	memset((char *)nla + nla->nla_len, 0, nla_total_size(attrlen) - nla->nla_len);
	return nla;
}

struct nlattr *nla_reserve(struct sk_buff *skb, int attrtype, int attrlen)
{
	return skb_tailroom(skb) < nla_total_size(attrlen) ? NULL : __nla_reserve(skb, attrtype, attrlen);
}

void __nla_put(struct sk_buff *skb, int attrtype, int attrlen, const void *data)
{
	memcpy(nla_data(__nla_reserve(skb, attrtype, attrlen)), data, attrlen);
}

int nla_put(struct sk_buff *skb, int attrtype, int attrlen, const void *data)
{
	if (skb_tailroom(skb) < nla_total_size(attrlen))
		return -EMSGSIZE;
	__nla_put(skb, attrtype, attrlen, data);
	return 0;
}

/* x86 loads at any address, so the 64-bit kind needs no padding attribute here. */
struct nlattr *__nla_reserve_64bit(struct sk_buff *skb, int attrtype, int attrlen, int padattr)
{
	(void)padattr;
	return __nla_reserve(skb, attrtype, attrlen);
}

struct nlattr *nla_reserve_64bit(struct sk_buff *skb, int attrtype, int attrlen, int padattr)
{
	(void)padattr;
	return nla_reserve(skb, attrtype, attrlen);
}

void __nla_put_64bit(struct sk_buff *skb, int attrtype, int attrlen, const void *data, int padattr)
{
	(void)padattr;
	__nla_put(skb, attrtype, attrlen, data);
}

int nla_put_64bit(struct sk_buff *skb, int attrtype, int attrlen, const void *data, int padattr)
{
	(void)padattr;
	return nla_put(skb, attrtype, attrlen, data);
}

void *__nla_reserve_nohdr(struct sk_buff *skb, int attrlen)
{
	return memset(skb_put(skb, NLA_ALIGN(attrlen)), 0, NLA_ALIGN(attrlen));
}

void *nla_reserve_nohdr(struct sk_buff *skb, int attrlen)
{
	return skb_tailroom(skb) < NLA_ALIGN(attrlen) ? NULL : __nla_reserve_nohdr(skb, attrlen);
}

void __nla_put_nohdr(struct sk_buff *skb, int attrlen, const void *data)
{
	memcpy(__nla_reserve_nohdr(skb, attrlen), data, attrlen);
}

int nla_put_nohdr(struct sk_buff *skb, int attrlen, const void *data)
{
	if (skb_tailroom(skb) < NLA_ALIGN(attrlen))
		return -EMSGSIZE;
	__nla_put_nohdr(skb, attrlen, data);
	return 0;
}

int nla_append(struct sk_buff *skb, int attrlen, const void *data)
{
	if (skb_tailroom(skb) < NLA_ALIGN(attrlen))
		return -EMSGSIZE;
	memcpy(skb_put(skb, attrlen), data, attrlen);
	return 0;
}
