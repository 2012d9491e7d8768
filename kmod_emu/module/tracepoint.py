"""Tracepoints of modules: probes are called while there are some (kernel/tracepoint.c).

A tracepoint's static key is on while it has probes. Its static call goes to the probe if there is one, to the
tracepoint's iterator, which is code of the module's, if there are more.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, NamedTuple

from kmod_emu.errors import KernelError
from kmod_emu.kernel.exports import Fidelity, export, export_data
from kmod_emu.kernel.taint import Taint
from kmod_emu.module.jump_label import static_key_disable, static_key_enable
from kmod_emu.module.modules import Module, Modules, ModuleState
from kmod_emu.module.static_call import static_call_update
from kmod_emu.uapi import errno

if TYPE_CHECKING:
    from kmod_emu.abi.structs import StructView
    from kmod_emu.kernel.kernel import KernelCore

_FUNC = struct.Struct("<QQixxxx")  # struct tracepoint_func
_DEFAULT_PRIO = 10
_CHAIN = "tracepoint"
_NOTIFY = "tracepoint_module_notify+0x197/0x1b0"  # where the real kernel's warning stands
_HARMLESS = (Taint.OOT_MODULE, Taint.CRAP, Taint.UNSIGNED_MODULE, Taint.TEST, Taint.LIVEPATCH)


class Probe(NamedTuple):
    """One struct tracepoint_func."""

    func: int
    data: int
    prio: int


def trace_module_has_bad_taint(module: Module) -> bool:
    """Whether nothing of the module's is traced: forced and proprietary modules."""
    return bool(module.taints & ~sum(1 << flag for flag in _HARMLESS))


def tracepoints(kernel: KernelCore, module: Module) -> list[int]:
    """Addresses of a module's tracepoints: a table of distances, each from its own place."""
    view = module.view
    table, count = view.tracepoints_ptrs, view.num_tracepoints
    # Where distances are used they take 4 bytes each, and the loader counts by 8.
    places = range(table, table + 4 * count, 4)
    distances = struct.unpack(f"<{count}i", kernel.memory.read(table, 4 * count)) if count else ()
    return [place + distance for place, distance in zip(places, distances, strict=True)]


def probes_of(kernel: KernelCore, tp: StructView) -> list[Probe]:
    """Who is called, in order."""
    found, place = [], tp.funcs
    while place:
        probe = Probe(*_FUNC.unpack(kernel.memory.read(place, _FUNC.size)))
        if not probe.func:
            break
        found.append(probe)
        place += _FUNC.size
    return found


async def _call_hook(kernel: KernelCore, tp: StructView, name: str) -> int:
    """Regfunc or unregfunc, which later kernels keep beside the tracepoint."""
    if not tp.has(name):
        tp = kernel.view("tracepoint_ext", tp.ext) if tp.ext else tp
    function = tp.get(name) if tp.has(name) else 0
    return await kernel.call_guest_int(function) if function else 0


def _set(kernel: KernelCore, tp: StructView, probes: list[Probe]) -> None:
    """Let the tracepoint call these. The array before is read by an iterator only up to its next entry."""
    memory, old = kernel.memory, tp.funcs
    func = tp.iterator
    if probes:
        table = b"".join(_FUNC.pack(*probe) for probe in probes) + bytes(_FUNC.size)
        address = kernel.heap.kmalloc(len(table))
        if not address:
            raise KernelError(errno.ENOMEM, "no memory for a tracepoint's probes")
        memory.write(address, table)
        tp.funcs = address
        if len(probes) == 1:
            func = probes[0].func
    else:
        tp.funcs = 0
    if tp.static_call_key:
        static_call_update(kernel, tp.static_call_key, tp.static_call_tramp, func)
    if old:
        kernel.rcu.after_grace_period("kfree_rcu", old)


async def _register(kernel: KernelCore, tp: StructView, new: Probe, *, may_exist: bool = False) -> int:
    if not await _enabled_or_hook(kernel, tp):
        return -errno.EINVAL
    probes = probes_of(kernel, tp)
    if any(probe[:2] == new[:2] for probe in probes):
        if not may_exist:
            kernel.warnings.warn_once("kernel/tracepoint.c", 342, "", "tracepoint_add_func+0xbe/0x3f0")
        return -errno.EEXIST
    at = next((i for i, probe in enumerate(probes) if probe.prio < new.prio), len(probes))
    probes.insert(at, new)
    _set(kernel, tp, probes)
    static_key_enable(kernel, tp.addressof("key"))
    return 0


async def _enabled_or_hook(kernel: KernelCore, tp: StructView) -> bool:
    """The first probe makes the tracepoint's own function run; False if that refuses."""
    if kernel.memory.read_u32(tp.addressof("key")):
        return True
    return await _call_hook(kernel, tp, "regfunc") >= 0


@export("int tracepoint_probe_register_prio(struct tracepoint *tp, void *probe, void *data, int prio)")
async def tracepoint_probe_register_prio(
    kernel: KernelCore, tp: StructView, probe: int, data: int, prio: int
) -> int:
    """Call a probe, those of higher priority first (kernel/tracepoint.c)."""
    return await _register(kernel, tp, Probe(probe, data, prio))


@export(
    "int tracepoint_probe_register_prio_may_exist(struct tracepoint *tp, void *probe, void *data, int prio)"
)
async def tracepoint_probe_register_prio_may_exist(
    kernel: KernelCore, tp: StructView, probe: int, data: int, prio: int
) -> int:
    """As tracepoint_probe_register_prio, without a warning of a second time (kernel/tracepoint.c)."""
    return await _register(kernel, tp, Probe(probe, data, prio), may_exist=True)


@export("int tracepoint_probe_register(struct tracepoint *tp, void *probe, void *data)")
async def tracepoint_probe_register(kernel: KernelCore, tp: StructView, probe: int, data: int) -> int:
    """Call a probe: register_trace_NAME() (kernel/tracepoint.c)."""
    return await _register(kernel, tp, Probe(probe, data, _DEFAULT_PRIO))


@export("int tracepoint_probe_unregister(struct tracepoint *tp, void *probe, void *data)")
async def tracepoint_probe_unregister(kernel: KernelCore, tp: StructView, probe: int, data: int) -> int:
    """Call it no longer: unregister_trace_NAME() (kernel/tracepoint.c)."""
    probes = probes_of(kernel, tp)
    if not probes:
        kernel.warnings.warn_once("kernel/tracepoint.c", 406, "", "tracepoint_probe_unregister+0x27b/0x390")
        return -errno.ENOENT
    left = [other for other in probes if other[:2] != (probe, data)]
    if not left:
        if kernel.memory.read_u32(tp.addressof("key")):
            await _call_hook(kernel, tp, "unregfunc")
        static_key_disable(kernel, tp.addressof("key"))
    _set(kernel, tp, left)
    return 0


@export(
    "void for_each_kernel_tracepoint(void (*fct)(struct tracepoint *tp, void *priv), void *priv)",
    Fidelity.APPROXIMATE,
)
async def for_each_kernel_tracepoint(kernel: KernelCore, fct: int, priv: int) -> None:
    """Call a function for each tracepoint of the base kernel: this one has none (kernel/tracepoint.c)."""


@export_data("struct srcu_struct tracepoint_srcu", lambda kernel: kernel.profile.struct("srcu_struct").size)
def tracepoint_srcu(kernel: KernelCore, address: int) -> None:
    """Readers of tracepoints that fire where RCU does not watch."""


# --- modules come and go ------------------------------------------------------------------------------


@export("int register_tracepoint_module_notifier(struct notifier_block *nb)")
async def register_tracepoint_module_notifier(kernel: KernelCore, nb: int) -> int:
    """Be told of modules with tracepoints, those that are there included (kernel/tracepoint.c)."""
    kernel.notifiers.register(_CHAIN, nb)
    await _tell(kernel, nb, ModuleState.COMING)
    return 0


@export("int unregister_tracepoint_module_notifier(struct notifier_block *nb)")
async def unregister_tracepoint_module_notifier(kernel: KernelCore, nb: int) -> int:
    """No longer be told; of those that are there, that they go (kernel/tracepoint.c)."""
    kernel.notifiers.unregister(_CHAIN, nb)
    await _tell(kernel, nb, ModuleState.GOING)
    return 0


async def _tell(kernel: KernelCore, block: int, state: ModuleState) -> None:
    """A notifier of all modules with tracepoints, the oldest first."""
    function = kernel.memory.read_u64(block)
    for module in reversed(kernel[Modules].formed()):
        if _has_tracepoints(module):
            await kernel.call_guest(function, block, state, _tp_module(kernel, module))


def _has_tracepoints(module: Module) -> bool:
    return bool(module.view.num_tracepoints) and not trace_module_has_bad_taint(module)


def _tp_module(kernel: KernelCore, module: Module) -> int:
    """A struct tp_module for a notifier to look at: a list's node and the module."""
    address = kernel.heap.kmalloc(24)
    kernel.memory.write_u64(address + 16, module.address)
    kernel.rcu.after_grace_period("kfree_rcu", address)
    return address


async def tracepoint_module_notify(kernel: KernelCore, module: Module, state: ModuleState) -> None:
    """A module comes or goes; a probe that is left then is warned of."""
    if not _has_tracepoints(module):
        return
    await kernel.notifiers.call(_CHAIN, state, _tp_module(kernel, module))
    if state is ModuleState.GOING:
        for address in tracepoints(kernel, module):
            if kernel.view("tracepoint", address).funcs:
                kernel.warnings.warn_once("kernel/tracepoint.c", 639, "", _NOTIFY)
