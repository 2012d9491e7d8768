"""The integer and function-pointer typedefs that kernel prototypes use by value, on x86-64.

Sizes and signs as in include/linux/types.h, include/uapi/linux/types.h and the subsystems' own headers. A
type that only occurs behind a pointer (`atomic_t`, `spinlock_t`) needs no entry.
"""

from __future__ import annotations

__all__ = ["HEX", "INTEGERS", "OCTAL", "POINTERS", "STRUCTS", "is_function_pointer", "names"]


def names(text: str) -> frozenset[str]:
    """The set of words in a text."""
    return frozenset(text.split())


def _table(rows: dict[tuple[int, bool], str]) -> dict[str, tuple[int, bool]]:
    return {name: size_sign for size_sign, row in rows.items() for name in row.split()}


# name -> (bytes, signed)
INTEGERS = _table(
    {
        (1, False): "u8 __u8 uint8_t u_int8_t u_char unchar blk_status_t cc_t",
        (1, True): "s8 __s8 int8_t",
        (
            2,
            False,
        ): "u16 __u16 uint16_t u_int16_t ushort u_short umode_t __le16 __be16 __sum16 sa_family_t domid_t",
        (2, True): "s16 __s16 int16_t",
        (4, False): (
            "u32 __u32 uint32_t u_int32_t uint u_int __le32 __be32 __wsum gfp_t dev_t mode_t uid_t gid_t "
            "qid_t projid_t nlink_t fmode_t vm_fault_t blk_opf_t blk_qc_t blk_mq_req_flags_t slab_flags_t "
            "__poll_t irqreturn_t pci_ers_result_t pci_channel_state_t acpi_status depot_stack_handle_t "
            "key_perm_t phandle speed_t tcflag_t compat_uint_t compat_ulong_t compat_uptr_t compat_size_t "
            "isolate_mode_t kuid_t kgid_t kprojid_t rx_handler_result_t xa_mark_t errseq_t phys_cpuid_t "
            "gro_result_t phy_interface_t acpi_object_type acpi_execute_type evtchn_port_t grant_ref_t "
            "ioasid_t unicode_t"
        ),
        (4, True): (
            "s32 __s32 int32_t pid_t clockid_t timer_t key_t key_serial_t rwf_t dma_cookie_t pm_message_t "
            "suspend_state_t pci_power_t netdev_tx_t mhp_t compat_int_t compat_long_t "
            "compat_pid_t"
        ),
        (8, False): (
            "u64 __u64 uint64_t u_int64_t ulong u_long __le64 __be64 size_t sector_t dma_addr_t phys_addr_t "
            "resource_size_t uintptr_t pgoff_t vm_flags_t ino_t blkcnt_t cycles_t async_cookie_t "
            "kernel_ulong_t netdev_features_t efi_status_t pgprot_t pte_t pmd_t pud_t p4d_t pgd_t pteval_t "
            "pgprotval_t swp_entry_t pfn_t acpi_size acpi_physical_address acpi_io_address "
            "acpi_bus_address irq_hw_number_t sigval_t"
        ),
        (8, True): (
            "s64 __s64 int64_t ssize_t loff_t off_t ktime_t time64_t ptrdiff_t intptr_t clock_t qsize_t"
        ),
    }
)

# Structures of at most 8 bytes: passed whole in one register, seen as the unsigned integer they fill.
STRUCTS = {"struct kqid": 8, "struct xa_limit": 8, "struct xenbus_transaction": 4}

# Typedefs that are pointers, or functions which C adjusts to pointers, although their names do not end as
# `is_function_pointer` expects.
POINTERS = names(
    "va_list initcall_t exitcall_t filldir_t poll_queue_proc dr_match_t dr_release_t device_match_t "
    "get_block_t mempool_alloc_t mempool_free_t usb_complete_t crypto_completion_t cpumask_var_t fl_owner_t "
    "key_ref_t acpi_handle acpi_string caddr_t splice_actor splice_direct_actor genpool_algo_t proc_write_t "
    "lookup_by_table_id_t udp_lookup_t writepage_t irq_write_msi_msg_t debugfs_automount_t dio_iodone_t "
    "xa_update_node_t initxattrs match_table_t bpf_aux_classic_check_t bpf_ctx_copy_t __sighandler_t "
    "amd_iommu_invalidate_ctx MPI MPI_POINT z_streamp"
)

_FUNCTION_SUFFIXES = (
    *(
        "_fn",
        "_fn_t",
        "_func",
        "_func_t",
        "_handler",
        "_handler_t",
        "_callback",
        "_callback_t",
        "_cb",
        "_cb_t",
    ),
    *("_actor_t", "_ctor_t", "_dtor_t"),
)

# How traces print values: flags and bus addresses in hex, modes in octal.
HEX = names(
    "gfp_t fmode_t vm_flags_t slab_flags_t __poll_t blk_opf_t netdev_features_t dma_addr_t phys_addr_t "
    "resource_size_t pgprot_t pte_t pmd_t pud_t p4d_t pgd_t uintptr_t acpi_physical_address"
)
OCTAL = names("umode_t mode_t")


def is_function_pointer(name: str) -> bool:
    """Whether a typedef's name says that it is a pointer to a function.

    >>> is_function_pointer("work_func_t"), is_function_pointer("loff_t")
    (True, False)
    """
    return name.endswith(_FUNCTION_SUFFIXES)
