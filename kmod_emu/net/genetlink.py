"""Generic netlink: families that modules register, and requests to them (net/netlink/genetlink.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kmod_emu.kernel.exports import export, export_data
from kmod_emu.kernel.locking import init_lock
from kmod_emu.net import controller, skbuff
from kmod_emu.net.genl_ops import Family
from kmod_emu.net.genl_request import header_check, receive_family
from kmod_emu.net.message import header, receive
from kmod_emu.net.netlink import Netlink
from kmod_emu.net.netlink_kernel import nlmsg_notify
from kmod_emu.net.wire import NLM_F_ECHO
from kmod_emu.uapi import errno
from kmod_emu.uapi.capability import CAP_NET_ADMIN, CAP_SYS_ADMIN
from kmod_emu.uapi.socket import NETLINK_GENERIC

if TYPE_CHECKING:
    from kmod_emu.kernel.kernel import KernelCore

ID_CTRL, _ID_VFS_DQUOT, _ID_PMCRAID, _START_ALLOC, _MAX_ID = 0x10, 0x11, 0x12, 0x13, 1023
_RESERVED = {"pmcraid": _ID_PMCRAID, "VFS_DQUOT": _ID_VFS_DQUOT}
_USED_GROUPS = frozenset((0, 1, ID_CTRL, _ID_VFS_DQUOT, _ID_PMCRAID))
_GROUP_NAME = 16  # GENL_NAMSIZ
_REJECT = 17
_FIRST_GROUPS = 64


class Genetlink:
    """The families, by number.

    Attributes:
        sock: The kernel's socket of the protocol.
    """

    def __init__(self, kernel: KernelCore) -> None:
        self._kernel = kernel
        self._families: dict[int, int] = {}
        self._groups = set(_USED_GROUPS)
        self._next = _START_ALLOC
        netlink = kernel[Netlink]
        self.sock = netlink.own(NETLINK_GENERIC, _FIRST_GROUPS, self._receive)
        netlink.table[NETLINK_GENERIC].bind = self._bind
        kernel.view("net", kernel.symbols.address("init_net")).genl_sock = self.sock.address

    # --- families -------------------------------------------------------------------------------------

    def find(self, number: int) -> Family | None:
        """The family of that number."""
        address = self._families.get(number)
        return Family(self._kernel, address) if address else None

    def find_name(self, name: str) -> Family | None:
        """The family of that name."""
        return next((family for family in self.families() if family.name == name), None)

    def families(self) -> list[Family]:
        """All, by number."""
        return [Family(self._kernel, address) for _, address in sorted(self._families.items())]

    async def _locking(self, function: str, lock: str) -> None:
        address = self._kernel.symbols.address
        await self._kernel.call_guest(address(function), address(lock))

    async def _lock_all(self) -> None:
        await self._locking("down_write", "cb_lock")
        await self.lock()

    async def _unlock_all(self) -> None:
        await self.unlock()
        await self._locking("up_write", "cb_lock")

    async def lock(self) -> None:
        """genl_lock()."""
        await self._locking("mutex_lock", "genl_mutex")

    async def unlock(self) -> None:
        """genl_unlock()."""
        await self._locking("mutex_unlock", "genl_mutex")

    async def lock_read(self) -> None:
        """No family comes or goes."""
        await self._locking("down_read", "cb_lock")

    async def unlock_read(self) -> None:
        """Families may come and go again."""
        await self._locking("up_read", "cb_lock")

    async def register(self, address: int) -> int:
        """A family comes; 0 or a negative errno."""
        family = Family(self._kernel, address)
        error = self._check_ops(family)
        if error:
            return error
        await self._lock_all()
        error = self._add(family)
        await self._unlock_all()
        if not error:
            await controller.announce(self._kernel, family, controller.NEWFAMILY)
            for index, _ in enumerate(family.groups()):
                await controller.announce(self._kernel, family, controller.NEWMCAST_GRP, index)
        return error

    def _check_ops(self, family: Family) -> int:
        """genl_validate_ops()."""
        view = family.view
        for line, offset, count, array in (
            (373, 0x442, "n_ops", "ops"),
            (374, 0x458, "n_small_ops", "small_ops"),
        ):
            if view.get(count) and not view.get(array):
                return self._warn(line, offset)
        seen: set[tuple[int, int]] = set()
        for op in family.ops():
            if not op.doit and not op.dumpit:
                return -errno.EINVAL
            if not view.has("split_ops") and op.cmd >= family.resv_start_op and op.validate:
                return self._warn(383, 0xC9)
            kind = op.flags & 6 if view.has("split_ops") else 0
            if (op.cmd, kind) in seen:
                return -errno.EINVAL
            seen.add((op.cmd, kind))
        return 0

    def _warn(self, line: int, offset: int) -> int:
        place = f"genl_register_family+{offset:#x}/0x740"
        self._kernel.warnings.warn("net/netlink/genetlink.c", line, "", place)
        return -errno.EINVAL

    def _add(self, family: Family) -> int:
        name = family.name
        if name == "nlctrl" or self.find_name(name):
            return -errno.EEXIST
        number = _RESERVED.get(name) or self._free_id()
        if not number or number in self._families:
            return -errno.ENOSPC
        groups = family.groups()
        for group, _ in groups:
            if group[0] == "\0" or "\0" not in group:
                return self._warn(279 if group[0] == "\0" else 281, 0x4E3 if group[0] == "\0" else 0x4EF)
        family.view.id = number
        if groups:
            family.view.mcgrp_offset = self._reserve(len(groups))
        self._families[number] = family.address
        return 0

    def _free_id(self) -> int:
        """The next number that is free (idr_alloc_cyclic); 0 if none is."""
        ids = [*range(self._next, _MAX_ID + 1), *range(_START_ALLOC, self._next)]
        number = next((number for number in ids if number not in self._families), 0)
        self._next = number + 1 if number < _MAX_ID else _START_ALLOC
        return number

    def _reserve(self, count: int) -> int:
        """The first of so many free groups in a row."""
        first = 0
        while any(first + index in self._groups for index in range(count)):
            first += 1
        self._groups.update(range(first, first + count))
        row = self._kernel[Netlink].table[NETLINK_GENERIC]
        row.groups = max(row.groups, (first + count + 63) // 64 * 64)
        return first

    async def unregister(self, address: int) -> int:
        """A family goes; ENOENT, it is not registered."""
        family = Family(self._kernel, address)
        await self._lock_all()
        if family.view.id not in self._families:
            await self._unlock_all()
            return -errno.ENOENT
        groups, first = family.groups(), family.view.mcgrp_offset
        for index, _ in enumerate(groups):
            for sock in self._kernel[Netlink].listeners(NETLINK_GENERIC, first + index):
                sock.groups.discard(first + index)
            if first + index != 1:
                self._groups.discard(first + index)
            await controller.announce(self._kernel, family, controller.DELMCAST_GRP, index)
        del self._families[family.view.id]
        await self._unlock_all()
        await controller.announce(self._kernel, family, controller.DELFAMILY)
        return 0

    async def _bind(self, group: int) -> int:
        """A program wants to listen to a group (genl_bind)."""
        task = self._kernel.sched.current
        for family in self.families():
            index = group - family.view.mcgrp_offset
            groups = family.groups()
            if 0 <= index < len(groups):
                flags = groups[index][1]
                refused = (flags & 1 and not task.capable(CAP_NET_ADMIN)) or (
                    flags & 2 and not task.capable(CAP_SYS_ADMIN)
                )
                return -errno.EPERM if refused else 0
        return 0

    # --- requests ---------------------------------------------------------------------------------------

    async def _receive(self, skb: int) -> int:
        """What a program has sent (genl_rcv)."""
        await self.lock_read()
        await receive(self._kernel, skb, self._handle)
        await self.unlock_read()
        return 0

    async def _handle(self, skb: int, nlh: int, extack: int) -> int:
        """One request (genl_rcv_msg)."""
        kernel = self._kernel
        number = header(kernel, nlh).type
        if number == ID_CTRL:
            return await controller.handle(kernel, self, skb, nlh, extack)
        family = self.find(number)
        if family is None:
            return -errno.ENOENT
        if not family.parallel:
            await self.lock()
        error = header_check(kernel, family, nlh, extack) or await receive_family(
            kernel, family, skb, nlh, extack
        )
        if not family.parallel:
            await self.unlock()
        return error

    # --- state ------------------------------------------------------------------------------------------

    def save(self) -> Any:
        """State for a snapshot or file."""
        return [list(self._families.items()), sorted(self._groups), self._next]

    def load(self, state: Any) -> None:
        """Put saved state back."""
        families, groups, self._next = state
        self._families, self._groups = dict(families), set(groups)


# --- exports ----------------------------------------------------------------------------------------


@export_data("struct mutex genl_mutex", lambda kernel: kernel.profile.struct("mutex").size)
def genl_mutex(kernel: KernelCore, address: int) -> None:
    """One request at a time."""
    init_lock(kernel, "mutex", address)


@export_data("struct rw_semaphore cb_lock", lambda kernel: kernel.profile.struct("rw_semaphore").size)
def cb_lock(kernel: KernelCore, address: int) -> None:
    """Requests read, coming and going of families writes."""
    init_lock(kernel, "rw_semaphore", address)


@export_data("struct nla_policy genl_policy_reject_all[]", 32)
def genl_policy_reject_all(kernel: KernelCore, address: int) -> None:
    """A policy that takes no attributes."""
    kernel.memory.write_u8(address, _REJECT)
    kernel.memory.write_u8(address + 16, _REJECT)


@export("void genl_lock(void)")
async def genl_lock(kernel: KernelCore) -> None:
    """Keep requests out (net/netlink/genetlink.c)."""
    await kernel[Genetlink].lock()


@export("void genl_unlock(void)")
async def genl_unlock(kernel: KernelCore) -> None:
    """Let them in again (net/netlink/genetlink.c)."""
    await kernel[Genetlink].unlock()


@export("int genl_register_family(struct genl_family *family)")
async def genl_register_family(kernel: KernelCore, family: int) -> int:
    """A family comes (net/netlink/genetlink.c)."""
    return await kernel[Genetlink].register(family)


@export("int genl_unregister_family(const struct genl_family *family)")
async def genl_unregister_family(kernel: KernelCore, family: int) -> int:
    """A family goes (net/netlink/genetlink.c)."""
    return await kernel[Genetlink].unregister(family)


@export(
    "int genlmsg_multicast_allns(const struct genl_family *family, struct sk_buff *skb, u32 portid,"
    " unsigned int group, gfp_t flags)"
)
async def genlmsg_multicast_allns(
    kernel: KernelCore, family: int, skb: int, portid: int, group: int, flags: int
) -> int:
    """Tell a family's group in all namespaces; there is one (net/netlink/genetlink.c)."""
    view = kernel.view("genl_family", family)
    if group >= view.n_mcgrps:
        await skbuff.free(kernel, skb)
        return -errno.EINVAL
    group += view.mcgrp_offset
    skbuff.control_block(kernel, skb).dst_group = group
    return await kernel[Netlink].broadcast(kernel[Genetlink].sock, skb, portid, group)


@export(
    "void genl_notify(const struct genl_family *family, struct sk_buff *skb, struct genl_info *info,"
    " u32 group, gfp_t flags)"
)
async def genl_notify(kernel: KernelCore, family: int, skb: int, info: int, group: int, flags: int) -> None:
    """Tell a family's group, and who asked if it wants an echo (net/netlink/genetlink.c)."""
    view, asked = kernel.view("genl_family", family), kernel.view("genl_info", info)
    if group >= view.n_mcgrps:
        return
    report = bool(asked.nlhdr and header(kernel, asked.nlhdr).flags & NLM_F_ECHO)
    sock = kernel[Genetlink].sock.address
    await nlmsg_notify(kernel, sock, skb, asked.snd_portid, group + view.mcgrp_offset, report, flags)
