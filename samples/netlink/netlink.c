// SPDX-License-Identifier: GPL-2.0-only
/* A netlink protocol of our own: every message comes back to its sender, and a group hears what was said. */
#include <linux/init.h>
#include <linux/kernel.h>
#include <linux/module.h>
#include <linux/netlink.h>
#include <linux/skbuff.h>
#include <linux/string.h>
#include <net/net_namespace.h>
#include <net/netlink.h>
#include <net/sock.h>

#define PROTOCOL 31
enum { SAY = NLMSG_MIN_TYPE, REFUSE, HEARD };
enum { GROUP_EVERYBODY = 1 };

static struct sock *sock;

static struct sk_buff *speech(u32 portid, u32 seq, int type, const char *text, int len)
{
	struct sk_buff *skb = nlmsg_new(len, GFP_KERNEL);
	struct nlmsghdr *nlh;

	if (!skb)
		return NULL;
	nlh = nlmsg_put(skb, portid, seq, type, len, 0);
	if (!nlh) {
		nlmsg_free(skb);
		return NULL;
	}
	memcpy(nlmsg_data(nlh), text, len);
	return skb;
}

static int one(struct sk_buff *skb, struct nlmsghdr *nlh, struct netlink_ext_ack *extack)
{
	u32 portid = NETLINK_CB(skb).portid;
	const char *text = nlmsg_data(nlh);
	int len = nlmsg_len(nlh);
	struct sk_buff *answer;

	if (nlh->nlmsg_type == REFUSE) {
		NL_SET_ERR_MSG(extack, "refused, as asked");
		return -EPERM;
	}
	if (nlh->nlmsg_type != SAY)
		return -EOPNOTSUPP;
	pr_info("netlink: %s (uid %u) says %.*s\n", portid == NETLINK_CREDS(skb)->pid ? "a process" : "a socket",
		from_kuid(&init_user_ns, NETLINK_CREDS(skb)->uid), len, text);
	answer = speech(portid, nlh->nlmsg_seq, SAY, text, len);
	if (!answer)
		return -ENOMEM;
	if (netlink_has_listeners(sock, GROUP_EVERYBODY)) {
		struct sk_buff *copy = speech(0, 0, HEARD, text, len);

		if (copy)
			nlmsg_multicast(sock, copy, 0, GROUP_EVERYBODY, GFP_KERNEL);
	}
	return nlmsg_unicast(sock, answer, portid);
}

static void input(struct sk_buff *skb)
{
	netlink_rcv_skb(skb, one);
}

static int __init netlink_init(void)
{
	struct netlink_kernel_cfg cfg = { .groups = 1, .input = input, .flags = NL_CFG_F_NONROOT_RECV };
	struct sk_buff *skb;

	sock = netlink_kernel_create(&init_net, PROTOCOL, &cfg);
	if (!sock)
		return -ENOMEM;
	if (netlink_kernel_create(&init_net, PROTOCOL, &cfg))
		pr_err("netlink: the protocol was given away twice\n");
	skb = speech(12345, 0, SAY, "anybody?", 8);
	if (skb)
		pr_info("netlink: to nobody: %d\n", nlmsg_unicast(sock, skb, 12345));
	return 0;
}

static void __exit netlink_exit(void)
{
	netlink_kernel_release(sock);
}

module_init(netlink_init);
module_exit(netlink_exit);

MODULE_LICENSE("GPL");
MODULE_AUTHOR("kmod-emu");
MODULE_DESCRIPTION("A netlink protocol");
