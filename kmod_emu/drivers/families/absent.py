"""What modules ask about hardware and hypervisors that this machine does not have (drivers/): there is none.

A function's answer, or a variable's value, is all that there is to know of each.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.kernel.exports import Fidelity, export_data
from kmod_emu.kernel.standin import declare_answers
from kmod_emu.uapi import errno

if TYPE_CHECKING:
    from kmod_emu.kernel.kernel import KernelCore

ANSWERS = {
    # no DMI table (drivers/firmware/dmi_scan.c)
    "int dmi_check_system(const struct dmi_system_id *list)": 0,
    "const struct dmi_system_id *dmi_first_match(const struct dmi_system_id *list)": 0,
    "const char *dmi_get_system_info(int field)": 0,
    "int dmi_name_in_vendors(const char *str)": 0,
    "bool dmi_match(enum dmi_field f, const char *str)": 0,
    "const struct dmi_device *dmi_find_device(int type, const char *name, const struct dmi_device *from)": 0,
    # nothing freezes, no memory comes
    "bool set_freezable(void)": 0,
    "int register_memory_notifier(struct notifier_block *nb)": 0,
    "void unregister_memory_notifier(struct notifier_block *nb)": 0,
    # the command line does not forbid graphics drivers (drivers/video/nomodeset.c)
    "bool drm_firmware_drivers_only(void)": 0,
    # no frequency is changed, no console has a frame buffer
    "const char *cpufreq_get_current_driver(void)": 0,
    # no PCI devices (drivers/pci/search.c)
    "struct pci_dev *pci_get_device(unsigned int vendor, unsigned int device, struct pci_dev *from)": 0,
    "struct pci_dev *pci_get_subsys(unsigned int vendor, unsigned int device, unsigned int ss_vendor,"
    " unsigned int ss_device, struct pci_dev *from)": 0,
    "struct pci_dev *pci_get_class(unsigned int class, struct pci_dev *from)": 0,
    "struct pci_dev *pci_get_domain_bus_and_slot(int domain, unsigned int bus, unsigned int devfn)": 0,
    "int pci_dev_present(const struct pci_device_id *ids)": 0,
    "void pci_dev_put(struct pci_dev *dev)": 0,
    # no hypervisor (arch/x86/)
    "bool hv_is_hyperv_initialized(void)": 0,
    "bool hv_is_hibernation_supported(void)": 0,
    # nobody watches memory for errors (drivers/edac/edac_mc.c), no register maps (drivers/base/regmap/)
    "const char *edac_get_owner(void)": 0,
    "struct regmap *dev_get_regmap(struct device *dev, const char *name)": 0,
    # devices are always awake (drivers/base/power/)
    "void pm_runtime_enable(struct device *dev)": 0,
    "void __pm_runtime_disable(struct device *dev, bool check_resume)": 0,
    "int __pm_runtime_set_status(struct device *dev, unsigned int status)": 0,
    "int __pm_runtime_resume(struct device *dev, int rpmflags)": 1,
    "int __pm_runtime_suspend(struct device *dev, int rpmflags)": 0,
    "int __pm_runtime_idle(struct device *dev, int rpmflags)": 0,
    "void __pm_runtime_use_autosuspend(struct device *dev, bool use)": 0,
    "void pm_runtime_set_autosuspend_delay(struct device *dev, int delay)": 0,
    "void pm_runtime_no_callbacks(struct device *dev)": 0,
    "void pm_runtime_irq_safe(struct device *dev)": 0,
    "void pm_runtime_forbid(struct device *dev)": 0,
    "void pm_runtime_allow(struct device *dev)": 0,
    "int pm_runtime_barrier(struct device *dev)": 0,
    "void device_set_wakeup_capable(struct device *dev, bool capable)": 0,
    "int device_set_wakeup_enable(struct device *dev, bool enable)": 0,
    # no engine copies memory (drivers/dma/dmaengine.c)
    "void dmaengine_get(void)": 0,
    "void dmaengine_put(void)": 0,
    # no hypervisor, no embedded controller, no firmware variables (drivers/acpi/, drivers/firmware/efi/)
    "bool kvm_para_available(void)": 0,
    "bool xen_has_pv_devices(void)": 0,
    "bool xen_has_pv_disk_devices(void)": 0,
    "bool xen_has_pv_nic_devices(void)": 0,
    "int ec_read(u8 addr, u8 *val)": -errno.ENODEV,
    "int ec_write(u8 addr, u8 val)": -errno.ENODEV,
    "struct kobject *efivars_kobject(void)": 0,
    "bool efivar_supports_writes(void)": 0,
    # no board is known to do without ACPI's; its resources are its own (drivers/acpi/)
    "bool acpi_quirk_skip_acpi_ac_and_battery(void)": 0,
    "int acpi_resources_are_enforced(void)": 1,
    # no board says what is on a bus of PHYs, no light shows that flash memory is used
    "void mdiobus_setup_mdiodev_from_board_info(struct mii_bus *bus,"
    " int (*cb)(struct mii_bus *bus, struct mdio_board_info *bi))": 0,
    "void ledtrig_mtd_activity(void)": 0,
    # no device tree (drivers/base/core.c)
    "void device_set_of_node_from_dev(struct device *dev, const struct device *dev2)": 0,
    # nobody's memory is watched, nobody switches between graphics cards, nothing was encrypted
    "void mmu_notifier_synchronize(void)": 0,
    "void vga_switcheroo_unregister_handler(void)": 0,
    "void backlight_device_unregister(struct backlight_device *bd)": 0,
    "void xfrm_flush_gc(void)": 0,
    "int xfrm_state_flush(struct net *net, u8 proto, bool task_valid, bool sync)": -errno.ESRCH,
    # no processor's speed can be set by ACPI
    "int acpi_processor_preregister_performance(struct acpi_processor_performance *data)": -errno.ENODEV,
    # IPv6 was not switched off (net/ipv6/af_inet6.c)
    "bool ipv6_mod_enabled(void)": 1,
}

VARIABLES = {
    "int acpi_disabled": (4, 0),  # drivers may come, no device does
    "int acpi_pci_disabled": (4, 0),
    "int fips_enabled": (4, 0),
    "enum xen_domain_type xen_domain_type": (4, 0),  # XEN_NATIVE
    "int pci_pci_problems": (4, 0),
    "enum x86_hypervisor_type x86_hyper_type": (4, 0),  # X86_HYPER_NATIVE
    "phys_addr_t ibft_phys_addr": (8, 0),
    "br_should_route_hook_t *br_fdb_test_addr_hook": (8, 0),
    "int edac_op_state": (4, 0xFFFF_FFFF),  # EDAC_OPSTATE_INVAL
    "int fg_console": (4, 0),
    "struct timezone sys_tz": (8, 0),
    "const struct in6_addr in6addr_any": (16, 0),
    "unsigned int reset_devices": (4, 0),  # no kernel crashed before this one
    "unsigned int __max_logical_packages": (4, 1),
    "unsigned int __max_die_per_package": (4, 1),
    "spinlock_t rtc_lock": (4, 0),
    "struct kset *pci_slots_kset": (8, 0),
    "struct static_key_false tcp_have_smc": (16, 0),
    "u32 hwpoison_filter_enable": (4, 0),
    "u32 hwpoison_filter_dev_major": (4, 0xFFFF_FFFF),
    "u32 hwpoison_filter_dev_minor": (4, 0xFFFF_FFFF),
    "u64 hwpoison_filter_flags_mask": (8, 0),
    "u64 hwpoison_filter_flags_value": (8, 0),
    "bool itlb_multihit_kvm_mitigation": (1, 0),
    "unsigned int hrtimer_resolution": (4, 1),
    "int sysctl_fb_tunnels_only_for_init_net": (4, 0),
    "const struct udp_tunnel_nic_ops *udp_tunnel_nic_ops": (8, 0),
    "void *nfct_btf_struct_access": (8, 0),
    "struct mutex nf_conn_btf_access_lock": (32, 0),
    "struct edd edd": (1024, 0),
    "const struct ip_tunnel_encap_ops *iptun_encaps[8]": (64, 0),
    "const struct ip6_tnl_encap_ops *ip6tun_encaps[8]": (64, 0),
}


def _declare_variable(declaration: str, size: int, value: int) -> None:
    @export_data(declaration, size, Fidelity.APPROXIMATE)
    def variable(kernel: KernelCore, address: int) -> None:
        """Its value on this machine."""
        if value:
            kernel.memory.write_u32(address, value)


declare_answers(__name__, ANSWERS)
for _declaration, (_size, _value) in VARIABLES.items():
    _declare_variable(_declaration, _size, _value)
