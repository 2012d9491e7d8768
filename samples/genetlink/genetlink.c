// SPDX-License-Identifier: GPL-2.0-only
/*
 * A generic netlink family that keeps a few named numbers: set one, ask for one, list all (a dump of many parts), and
 * a multicast group that hears of changes. Bad requests are refused by the policy, with a text.
 */
#include <linux/init.h>
#include <linux/kernel.h>
#include <linux/list.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <net/genetlink.h>

enum { CMD_SET = 1, CMD_GET, CMD_CHANGED };
enum { ATTR_NAME = 1, ATTR_VALUE, ATTR_NOTE, ATTR_LEVELS, __ATTR_END, ATTR_MAX = __ATTR_END - 1 };
enum { LEVEL_LOW = 1, LEVEL_HIGH };

struct entry {
	struct list_head list;
	char name[16];
	u32 value;
};

static LIST_HEAD(entries);
static int count;
static struct genl_family family;

static const struct nla_policy levels_policy[LEVEL_HIGH + 1] = {
	[LEVEL_LOW] = { .type = NLA_U8 },
	[LEVEL_HIGH] = { .type = NLA_U8 },
};

static const struct nla_policy policy[ATTR_MAX + 1] = {
	[ATTR_NAME] = { .type = NLA_NUL_STRING, .len = 15 },
	[ATTR_VALUE] = NLA_POLICY_RANGE(NLA_U32, 1, 1000),
	[ATTR_NOTE] = { .type = NLA_REJECT, .reject_message = "notes are not kept" },
	[ATTR_LEVELS] = NLA_POLICY_NESTED(levels_policy),
};

static struct entry *find(struct genl_info *info)
{
	struct entry *entry;

	if (GENL_REQ_ATTR_CHECK(info, ATTR_NAME))
		return ERR_PTR(-EINVAL);
	list_for_each_entry(entry, &entries, list)
		if (!nla_strcmp(info->attrs[ATTR_NAME], entry->name))
			return entry;
	return NULL;
}

static int fill(struct sk_buff *skb, u32 portid, u32 seq, int flags, u8 cmd, const struct entry *entry)
{
	void *header = genlmsg_put(skb, portid, seq, &family, flags, cmd);

	if (!header)
		return -EMSGSIZE;
	if (nla_put_string(skb, ATTR_NAME, entry->name) || nla_put_u32(skb, ATTR_VALUE, entry->value)) {
		genlmsg_cancel(skb, header);
		return -EMSGSIZE;
	}
	genlmsg_end(skb, header);
	return 0;
}

static void tell(const struct entry *entry)
{
	struct sk_buff *skb = genlmsg_new(NLMSG_GOODSIZE, GFP_KERNEL);

	if (skb && !fill(skb, 0, 0, 0, CMD_CHANGED, entry))
		genlmsg_multicast(&family, skb, 0, 0, GFP_KERNEL);
	else
		nlmsg_free(skb);
}

static int set(struct sk_buff *skb, struct genl_info *info)
{
	struct nlattr *levels[LEVEL_HIGH + 1];
	struct entry *entry = find(info);

	if (IS_ERR(entry))
		return PTR_ERR(entry);
	if (GENL_REQ_ATTR_CHECK(info, ATTR_VALUE))
		return -EINVAL;
	if (info->attrs[ATTR_LEVELS]) {
		int err = nla_parse_nested(levels, LEVEL_HIGH, info->attrs[ATTR_LEVELS], levels_policy, info->extack);

		if (err)
			return err;
		pr_info("genetlink: levels %d to %d\n", levels[LEVEL_LOW] ? nla_get_u8(levels[LEVEL_LOW]) : -1,
			levels[LEVEL_HIGH] ? nla_get_u8(levels[LEVEL_HIGH]) : -1);
	}
	if (!entry) {
		entry = kzalloc(sizeof(*entry), GFP_KERNEL);
		if (!entry)
			return -ENOMEM;
		nla_strscpy(entry->name, info->attrs[ATTR_NAME], sizeof(entry->name));
		list_add_tail(&entry->list, &entries);
		count++;
	}
	entry->value = nla_get_u32(info->attrs[ATTR_VALUE]);
	tell(entry);
	return 0;
}

static int get(struct sk_buff *skb, struct genl_info *info)
{
	struct entry *entry = find(info);
	struct sk_buff *answer;

	if (IS_ERR(entry))
		return PTR_ERR(entry);
	if (!entry) {
		NL_SET_ERR_MSG_ATTR(info->extack, info->attrs[ATTR_NAME], "there is no such entry");
		return -ENOENT;
	}
	answer = genlmsg_new(NLMSG_GOODSIZE, GFP_KERNEL);
	if (!answer)
		return -ENOMEM;
	if (fill(answer, info->snd_portid, info->snd_seq, 0, CMD_GET, entry)) {
		nlmsg_free(answer);
		return -EMSGSIZE;
	}
	return genlmsg_reply(answer, info);
}

static int dump_start(struct netlink_callback *cb)
{
	pr_info("genetlink: a dump of %d entries begins\n", count);
	return 0;
}

static int dump(struct sk_buff *skb, struct netlink_callback *cb)
{
	struct entry *entry;
	long index = 0;

	list_for_each_entry(entry, &entries, list) {
		if (index++ < cb->args[0])
			continue;
		if (fill(skb, NETLINK_CB(cb->skb).portid, cb->nlh->nlmsg_seq, NLM_F_MULTI, CMD_GET, entry))
			break;
		cb->args[0]++;
	}
	return skb->len;
}

static int dump_done(struct netlink_callback *cb)
{
	pr_info("genetlink: a dump ends after %ld entries\n", cb->args[0]);
	return 0;
}

static const struct genl_ops ops[] = {
	{ .cmd = CMD_SET, .flags = GENL_ADMIN_PERM, .doit = set },
	{ .cmd = CMD_GET, .doit = get, .start = dump_start, .dumpit = dump, .done = dump_done },
};

static const struct genl_multicast_group groups[] = { { .name = "changes" } };

static struct genl_family family __ro_after_init = {
	.name = "kmod_emu_demo",
	.version = 1,
	.maxattr = ATTR_MAX,
	.policy = policy,
	.module = THIS_MODULE,
	.ops = ops,
	.n_ops = ARRAY_SIZE(ops),
	.mcgrps = groups,
	.n_mcgrps = ARRAY_SIZE(groups),
};

static int __init genetlink_init(void)
{
	int err = genl_register_family(&family);

	if (!err)
		pr_info("genetlink: the family has number %d\n", family.id);
	return err;
}

static void __exit genetlink_exit(void)
{
	struct entry *entry, *next;

	genl_unregister_family(&family);
	list_for_each_entry_safe(entry, next, &entries, list)
		kfree(entry);
}

module_init(genetlink_init);
module_exit(genetlink_exit);

MODULE_LICENSE("GPL");
MODULE_AUTHOR("kmod-emu");
MODULE_DESCRIPTION("A generic netlink family");
MODULE_ALIAS_GENL_FAMILY("kmod_emu_demo");
