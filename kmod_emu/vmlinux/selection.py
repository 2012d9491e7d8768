"""Which of a kernel's 8,000 structures a profile keeps: those that modules exchange with the kernel.

They are the structures that prototypes of exports name, the tables of operations that these lead to, and what
all of them contain; and those that module files, the loader and the emulator itself work on.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from kmod_emu.abi.btf import Btf
    from kmod_emu.abi.layout import StructLayout

__all__ = ["exported_prototypes", "select_structs"]

_NAMED = re.compile(r"\b(?:struct|union) (\w+)")
_CONTAINED = re.compile(r"(?:struct|union) (\w+)(?:\[\d+\])*\Z")
_OPERATIONS = re.compile(r"\w*(?:_ops|_operations|_ops_t)\Z")

# No exported prototype leads to these.
_ALWAYS = """
    module module_layout module_memory module_kobject module_param_attrs module_use module_attribute
    module_version_attribute mod_kallsyms mod_arch_specific modversion_info kernel_symbol
    kernel_param kernel_param_ops kparam_string kparam_array
    exception_table_entry bug_entry jump_entry static_key static_key_true static_call_key static_call_site
    alt_instr orc_entry tracepoint _ddebug kprobe ftrace_ops
    paravirt_patch_site paravirt_patch_template pv_info pv_cpu_ops pv_irq_ops pv_mmu_ops pv_lock_ops
    task_struct thread_info cred pt_regs fixed_percpu_data pcpu_hot signal_struct sighand_struct
    files_struct fdtable fs_struct nsproxy pid
    list_head hlist_head hlist_node llist_head llist_node rb_node rb_root callback_head
    spinlock raw_spinlock qspinlock mutex rw_semaphore semaphore completion lockdep_map
    timer_list hrtimer work_struct delayed_work workqueue_struct tasklet_struct kthread_work kthread_worker
    wait_queue_head wait_queue_entry irqaction irq_desc kref refcount_struct idr ida xarray xa_node
    kobj_attribute device_attribute class_attribute bus_attribute driver_attribute attribute bin_attribute
    kretprobe kretprobe_instance kretprobe_holder rethook rethook_node ftrace_regs
    kobj_type kset_uevent_ops kobj_uevent_env sysfs_ops
    proc_dir_entry seq_file kmem_cache page folio vm_area_struct mm_struct pipe_inode_info pipe_buffer
    super_block file_system_type poll_table_struct vm_operations_struct
    platform_driver urb usb_device subsys_private driver_private device_private
    va_format timespec64 tm clocksource cpuinfo_x86
    tracepoint_func trace_event_call trace_event_class trace_event_functions trace_event_fields trace_eval_map
    trace_entry tracepoint_ext trace_event_file trace_event_buffer trace_iterator trace_seq
"""


def exported_prototypes(btf: Btf, names: Iterable[str]) -> dict[str, str]:
    """The C prototypes of exported functions, as far as BTF has them."""
    found = ((name, btf.prototype(name)) for name in names)
    return {name: prototype for name, prototype in found if prototype is not None}


def select_structs(btf: Btf, prototypes: Mapping[str, str], release: str) -> list[StructLayout]:
    """The layouts to keep."""
    known = btf.structs
    wanted = {name for prototype in prototypes.values() for name in _NAMED.findall(prototype)}
    wanted.update(_ALWAYS.split())
    todo, chosen = [name for name in wanted if name in known], set()
    while todo:
        name = todo.pop()
        if name in chosen:
            continue
        chosen.add(name)
        for text in btf.member_types(name).values():
            contained = _CONTAINED.match(text)
            names = [contained[1]] if contained else filter(_OPERATIONS.match, _NAMED.findall(text))
            todo.extend(inner for inner in names if inner in known)
    layouts = (btf.layout(name, release) for name in chosen)
    return [layout for layout in layouts if layout is not None]
