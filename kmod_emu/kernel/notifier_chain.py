"""Notifier chains of modules' own, and those of the kernel that modules join (kernel/notifier.c).

A chain is a list of `struct notifier_block` in guest memory; its four kinds of head differ in the lock that
goes before the pointer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.kernel.activation import to_int
from kmod_emu.kernel.exports import Fidelity, export, export_data
from kmod_emu.kernel.notifier import NOTIFY_DONE, NOTIFY_STOP_MASK
from kmod_emu.uapi import errno

if TYPE_CHECKING:
    from kmod_emu.kernel.kernel import KernelCore

_NEXT, _PRIORITY = 8, 16  # in struct notifier_block, the same in all releases

# Where a second registration is warned of: the common function is inlined into most of its callers.
_WARNS = {
    "raw": "raw_notifier_chain_register+0x3b/0x60",
    "atomic": "atomic_notifier_chain_register+0x52/0x80",
    "atomic unique": "atomic_notifier_chain_register_unique_prio+0x55/0x90",
    "srcu": "srcu_notifier_chain_register+0x60/0xe0",
    "die": "register_die_notifier+0x5a/0x90",
}
_WARN = "notifier_chain_register+0x3e/0x70"


def _priority(kernel: KernelCore, block: int) -> int:
    return to_int(kernel.memory.read_u32(block + _PRIORITY))


def join_chain(kernel: KernelCore, kind: str, place: int, block: int, *, unique: bool = False) -> int:
    """notifier_chain_register(): behind those of the same or higher priority."""
    memory, own = kernel.memory, _priority(kernel, block)
    while (other := memory.read_u64(place)) != 0:
        if other == block:
            function = kernel.describe(memory.read_u64(block)).partition("+")[0]
            text = f"notifier callback {function} already registered"
            kernel.warnings.warn("kernel/notifier.c", 28, text, _WARNS.get(kind, _WARN))
            return -errno.EEXIST
        if own > _priority(kernel, other):
            break
        if unique and own == _priority(kernel, other):
            return -errno.EBUSY
        place = other + _NEXT
    memory.write_u64(block + _NEXT, other)
    memory.write_u64(place, block)
    return 0


def leave_chain(kernel: KernelCore, place: int, block: int) -> int:
    """notifier_chain_unregister()."""
    memory = kernel.memory
    while (other := memory.read_u64(place)) != 0:
        if other == block:
            memory.write_u64(place, memory.read_u64(block + _NEXT))
            return 0
        place = other + _NEXT
    return -errno.ENOENT


async def call_chain(
    kernel: KernelCore, place: int, event: int, data: int, limit: int = -1
) -> tuple[int, int]:
    """notifier_call_chain(): the last answer, and how many were called."""
    memory, result, called = kernel.memory, NOTIFY_DONE, 0
    block = memory.read_u64(place)
    while block and called != limit:
        following = memory.read_u64(block + _NEXT)
        function = memory.read_u64(block)
        kernel.events.emit("notifier", function=function, symbol=kernel.describe(function))
        called += 1
        result = to_int(await kernel.call_guest(function, block, event, data))
        if result & NOTIFY_STOP_MASK:
            break
        block = following
    return result, called


def _define(kind: str) -> None:
    """The functions of one kind of chain."""
    struct = f"struct {kind}_notifier_head *nh"

    def place(kernel: KernelCore, head: int) -> int:
        return head + kernel.profile.offset(f"{kind}_notifier_head", "head")

    @export(f"int {kind}_notifier_chain_register({struct}, struct notifier_block *nb)")
    def register(kernel: KernelCore, nh: int, nb: int) -> int:
        """Join a chain (kernel/notifier.c)."""
        return join_chain(kernel, kind, place(kernel, nh), nb)

    if kind in ("atomic", "blocking"):

        @export(f"int {kind}_notifier_chain_register_unique_prio({struct}, struct notifier_block *nb)")
        def register_unique(kernel: KernelCore, nh: int, nb: int) -> int:
            """Join a chain, unless another has this priority (kernel/notifier.c)."""
            return join_chain(kernel, f"{kind} unique", place(kernel, nh), nb, unique=True)

    @export(f"int {kind}_notifier_chain_unregister({struct}, struct notifier_block *nb)")
    def unregister(kernel: KernelCore, nh: int, nb: int) -> int:
        """Leave it (kernel/notifier.c)."""
        return leave_chain(kernel, place(kernel, nh), nb)

    @export(f"int {kind}_notifier_call_chain({struct}, unsigned long val, void *v)")
    async def call(kernel: KernelCore, nh: int, val: int, v: int) -> int:
        """Call all until one says stop (kernel/notifier.c)."""
        return (await call_chain(kernel, place(kernel, nh), val, v))[0]

    if kind in ("raw", "blocking"):

        @export(
            f"int {kind}_notifier_call_chain_robust({struct}, unsigned long val_up, unsigned long val_down,"
            " void *v)"
        )
        async def call_robust(kernel: KernelCore, nh: int, val_up: int, val_down: int, v: int) -> int:
            """If one refuses, tell those before it (kernel/notifier.c)."""
            result, called = await call_chain(kernel, place(kernel, nh), val_up, v)
            if result & NOTIFY_STOP_MASK:
                await call_chain(kernel, place(kernel, nh), val_down, v, called - 1)
            return result


for _kind in ("atomic", "blocking", "raw", "srcu"):
    _define(_kind)


@export("int srcu_init_notifier_head(struct srcu_notifier_head *nh)")
def srcu_init_notifier_head(kernel: KernelCore, nh: int) -> int:
    """An empty chain (kernel/notifier.c)."""
    kernel.memory.clear(nh, kernel.profile.struct("srcu_notifier_head").size)
    return 0


def _define_kernels_own(register: str, unregister: str, chain: str) -> None:
    """A chain of the kernel's: joining works; `Kernel.notify` says that it happens."""

    @export(f"int {register}(struct notifier_block *nb)", Fidelity.REGISTRATION)
    def join(kernel: KernelCore, nb: int) -> int:
        """Join a chain of the kernel's."""
        return join_chain(kernel, register.split("_")[1], kernel.symbol(chain), nb)

    @export(f"int {unregister}(struct notifier_block *nb)", Fidelity.REGISTRATION)
    def leave(kernel: KernelCore, nb: int) -> int:
        """Leave it."""
        return leave_chain(kernel, kernel.symbol(chain), nb)

    @export_data(f"void *{chain}")
    def head(kernel: KernelCore, address: int) -> None:
        """An empty chain."""


# What they tell of -> where the kernel keeps the chain.
CHAINS = {
    "reboot": "reboot_notifier_list",
    "die": "die_chain",
    "keyboard": "keyboard_notifier_list",
    "netdevice": "netdev_chain",
    "inetaddr": "inetaddr_chain",
    "inet6addr": "inet6addr_chain",
    "inetaddr_validator": "inetaddr_validator_chain",
    "inet6addr_validator": "inet6addr_validator_chain",
    "netevent": "netevent_notif_chain",
    "dcbevent": "dcbevent_notif_chain",
    "switchdev": "switchdev_notif_chain",
    "switchdev_blocking": "switchdev_blocking_notif_chain",
    "blocking_lsm": "blocking_lsm_notifier_chain",
    "pm": "pm_chain_head",
    "oom": "oom_notify_list",
    "acpi": "acpi_chain_head",
    "vt": "vt_notifier_list",
    "crypto": "crypto_chain",
}
_OTHER_NAMES = {"crypto": ("crypto_register_notifier", "crypto_unregister_notifier")}
# The functions by which modules join each and leave it.
CHAIN_CALLS = {
    name: _OTHER_NAMES.get(name, (f"register_{name}_notifier", f"unregister_{name}_notifier"))
    for name in CHAINS
}
for _name, _chain in CHAINS.items():
    _define_kernels_own(*CHAIN_CALLS[_name], _chain)


@export_data("struct atomic_notifier_head panic_notifier_list", 16, Fidelity.REGISTRATION)
def panic_notifier_list(kernel: KernelCore, address: int) -> None:
    """Modules join it by atomic_notifier_chain_register()."""


def chain_place(kernel: KernelCore, name: str) -> int:
    """Where the first pointer of a chain of the kernel's is; LookupError if there is none of that name."""
    if name == "panic":
        head = kernel.symbol("panic_notifier_list")
        return head + kernel.profile.offset("atomic_notifier_head", "head")
    if name not in CHAINS:
        raise LookupError(f"no chain {name}: there are panic, {', '.join(CHAINS)}")
    return kernel.symbol(CHAINS[name])
