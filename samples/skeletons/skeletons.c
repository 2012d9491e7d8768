// SPDX-License-Identifier: GPL-2.0-only
/* Skeletons: what drivers of many kinds register in init, with nothing behind it. */
#include <crypto/internal/hash.h>
#include <linux/acpi.h>
#include <linux/auxiliary_bus.h>
#include <linux/blkdev.h>
#include <linux/cpuhotplug.h>
#include <linux/fs.h>
#include <linux/key-type.h>
#include <linux/module.h>
#include <linux/netdevice.h>
#include <linux/nls.h>
#include <linux/pci.h>
#include <linux/pnp.h>
#include <linux/serio.h>
#include <linux/sysctl.h>
#include <linux/textsearch.h>
#include <linux/tty.h>
#include <net/net_namespace.h>
#include <net/netns/generic.h>
#include <net/pkt_sched.h>
#include <net/sock.h>
#include <net/tcp.h>

static bool twice;
module_param(twice, bool, 0444);
MODULE_PARM_DESC(twice, "register everything a second time");
static bool forget;
module_param(forget, bool, 0444);
MODULE_PARM_DESC(forget, "do not take the PCI driver and the file system back");

static const struct pci_device_id pci_ids[] = { { PCI_DEVICE(0x1234, 0xffff) }, { } };
static struct pci_driver pci = { .name = "skeleton", .id_table = pci_ids };

static const struct acpi_device_id acpi_ids[] = { { "SKEL0001" }, { } };
static struct acpi_driver acpi = { .name = "skeleton", .class = "skeleton", .ids = acpi_ids };

static const struct pnp_device_id pnp_ids[] = { { .id = "SKE0001" }, { } };
static struct pnp_driver pnp = { .name = "skeleton", .id_table = pnp_ids };

static const struct serio_device_id serio_ids[] = { { .type = SERIO_RS232, .proto = 0x77 }, { } };
static struct serio_driver serio = { .driver = { .name = "skeleton" }, .id_table = serio_ids };

static int aux_probe(struct auxiliary_device *dev, const struct auxiliary_device_id *id) { return 0; }
static const struct auxiliary_device_id aux_ids[] = { { .name = "skeletons.nobody" }, { } };
static struct auxiliary_driver aux = { .name = "bone", .probe = aux_probe, .id_table = aux_ids };

static struct file_system_type fs = { .owner = THIS_MODULE, .name = "skelfs" };
static struct nls_table nls = { .charset = "skeleton" };
static struct tty_ldisc_ops ldisc = { .owner = THIS_MODULE, .name = "n_skeleton", .num = 30 };

static int key_instantiate(struct key *key, struct key_preparsed_payload *prep) { return 0; }
static struct key_type key = { .name = "skeleton", .instantiate = key_instantiate };

static struct Qdisc_ops qdisc = { .id = "skeleton", .owner = THIS_MODULE };
static u32 ssthresh(struct sock *sk) { return 2; }
static void cong_avoid(struct sock *sk, u32 ack, u32 acked) { }
static u32 undo_cwnd(struct sock *sk) { return 2; }
static struct tcp_congestion_ops congestion = {
	.name = "skeleton", .ssthresh = ssthresh, .cong_avoid = cong_avoid, .undo_cwnd = undo_cwnd,
	.owner = THIS_MODULE,
};
static int sock_create_none(struct net *net, struct socket *sock, int protocol, int kern) { return -EPERM; }
static struct net_proto_family family = { .family = PF_CAIF, .create = sock_create_none, .owner = THIS_MODULE };

static int hash_none(struct shash_desc *desc) { return 0; }
static int hash_update(struct shash_desc *desc, const u8 *data, unsigned int len) { return 0; }
static int hash_final(struct shash_desc *desc, u8 *out) { memset(out, 0x5e, 4); return 0; }
static struct shash_alg hash = {
	.init = hash_none, .update = hash_update, .final = hash_final, .digestsize = 4,
	.base = { .cra_name = "skeleton", .cra_driver_name = "skeleton-bare", .cra_priority = 100,
		  .cra_blocksize = 1, .cra_module = THIS_MODULE },
};

static int value = 42, least = 1, most = 100;
static char text[8] = "bone";
static struct ctl_table values[] = {
	{ .procname = "value", .data = &value, .maxlen = sizeof(value), .mode = 0644,
	  .proc_handler = proc_dointvec_minmax, .extra1 = &least, .extra2 = &most },
	{ .procname = "text", .data = text, .maxlen = sizeof(text), .mode = 0644, .proc_handler = proc_dostring },
	{ }
};
static struct ctl_table_header *sysctls;

static unsigned int net_id;
struct skeleton_net { int born; };
static int net_init(struct net *net)
{
	struct skeleton_net *mine = net_generic(net, net_id);

	mine->born = 7;
	pr_info("a namespace comes, %s\n", net_eq(net, &init_net) ? "the first" : "another");
	return 0;
}
static void net_exit(struct net *net)
{
	struct skeleton_net *mine = net_generic(net, net_id);

	pr_info("a namespace goes, %d\n", mine->born);
}
static struct pernet_operations pernet = {
	.init = net_init, .exit = net_exit, .id = &net_id, .size = sizeof(struct skeleton_net),
};

static int online(unsigned int cpu)
{
	pr_info("processor %u is there\n", cpu);
	return 0;
}
static int state, major;

#define KINDS(_) \
	_(pci, pci_register_driver(&pci), pci_unregister_driver(&pci)) \
	_(acpi, acpi_bus_register_driver(&acpi), acpi_bus_unregister_driver(&acpi)) \
	_(pnp, pnp_register_driver(&pnp), pnp_unregister_driver(&pnp)) \
	_(serio, serio_register_driver(&serio), serio_unregister_driver(&serio)) \
	_(auxiliary, auxiliary_driver_register(&aux), auxiliary_driver_unregister(&aux)) \
	_(fs, register_filesystem(&fs), unregister_filesystem(&fs)) \
	_(nls, register_nls(&nls), unregister_nls(&nls)) \
	_(ldisc, tty_register_ldisc(&ldisc), tty_unregister_ldisc(&ldisc)) \
	_(key, register_key_type(&key), unregister_key_type(&key)) \
	_(qdisc, register_qdisc(&qdisc), unregister_qdisc(&qdisc)) \
	_(congestion, tcp_register_congestion_control(&congestion), \
	  tcp_unregister_congestion_control(&congestion)) \
	_(family, sock_register(&family), sock_unregister(PF_CAIF)) \
	_(hash, crypto_register_shash(&hash), crypto_unregister_shash(&hash))

static void again(void)
{
#define TWICE(name, join, leave) if (#name[0] != 'k') pr_info(#name " again: %d\n", join);
	KINDS(TWICE)
	pr_info("major again: %d\n", register_blkdev(major, "skeleton"));
	pr_info("sysctl again: %s\n", register_sysctl("dev/skeleton", values) ? "taken" : "refused");
}

static int __init skeletons_init(void)
{
#define ONCE(name, join, leave) pr_info(#name ": %d\n", join);
	KINDS(ONCE)
	major = register_blkdev(0, "skeleton");
	pr_info("major: %d\n", major);
	sysctls = register_sysctl("dev/skeleton", values);
	pr_info("sysctl: %s\n", sysctls ? "taken" : "refused");
	pr_info("pernet: %d\n", register_pernet_subsys(&pernet));
	state = cpuhp_setup_state(CPUHP_AP_ONLINE_DYN, "skeleton", online, NULL);
	pr_info("state: %s\n", state > 0 ? "a number" : "none");
	if (twice)
		again();
	return 0;
}

static void __exit skeletons_exit(void)
{
#define GONE(name, join, leave) if (!forget || (strcmp(#name, "pci") && strcmp(#name, "fs"))) leave;
	cpuhp_remove_state(state);
	unregister_pernet_subsys(&pernet);
	unregister_sysctl_table(sysctls);
	unregister_blkdev(major, "skeleton");
	KINDS(GONE)
}

module_init(skeletons_init);
module_exit(skeletons_exit);
MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("registers a driver of each kind");
