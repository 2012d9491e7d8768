"""What modules have for each network namespace (net/core/net_namespace.c): there is one, init_net."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kmod_emu.abi import lists
from kmod_emu.kernel.activation import to_int
from kmod_emu.kernel.exports import export

if TYPE_CHECKING:
    from kmod_emu.abi.structs import StructView
    from kmod_emu.kernel.kernel import KernelCore

_FIRST_ID = 3  # the words before are the header of struct net_generic
_MOST = 256  # numbers that there is room for


class Pernet:
    """The operations that are registered, in their order, and the numbers of their data.

    Subsystems leave after devices do, so each kind has its list.
    """

    def __init__(self, kernel: KernelCore) -> None:
        self._kernel = kernel
        self._operations: list[int] = []
        self._ids: list[int] = []
        self.net = kernel.symbols.address("init_net")
        self._generic = kernel.heap.kmalloc(8 * _MOST)
        kernel.memory.write_u32(self._generic, _MOST)
        view = kernel.view("net", self.net)
        view.gen = self._generic
        if kernel.profile.has("ns_common.count"):
            kernel.memory.write_u32(view.addressof("ns") + kernel.profile.offset("ns_common", "count"), 1)
        kernel.counted["pernet operations"] = lambda: len(self._operations)

    async def register(self, ops: StructView) -> int:
        """register_pernet_operations(): a number and memory if wanted, then its init; 0 or an error."""
        id_at = ops.id
        if id_at:
            number = next(number for number in range(_FIRST_ID, _MOST) if number not in self._ids)
            self._kernel.memory.write_u32(id_at, number)
            self._ids.append(number)
        error = await self._init(ops)
        if error:
            self._forget_id(ops)
        else:
            self._operations.append(ops.address)
        return error

    async def _init(self, ops: StructView) -> int:
        """ops_init()."""
        kernel = self._kernel
        if ops.id and ops.size:
            kernel.memory.write_u64(self._slot(ops), kernel.heap.kmalloc(ops.size))
        error = to_int(await kernel.call_guest(ops.init, self.net)) if ops.init else 0
        if error:
            self._free(ops)
        return error

    async def unregister(self, ops: StructView) -> None:
        """unregister_pernet_operations(): pre_exit, exit, exit_batch, then its memory goes."""
        if ops.address not in self._operations:
            return
        kernel, net = self._kernel, self._kernel.view("net", self.net)
        self._operations.remove(ops.address)
        for name in ("pre_exit", "exit"):
            if ops.has(name) and ops.get(name):
                await kernel.call_guest(ops.get(name), self.net)
        heads = kernel.heap.kmalloc(32)  # of namespaces, and of devices to be unregistered
        for head in (heads, heads + 16):
            lists.init(kernel.memory, head)
        lists.add_tail(kernel.memory, net.addressof("exit_list"), heads)
        for name in ("exit_batch_rtnl", "exit_batch"):
            if ops.has(name) and ops.get(name):
                await kernel.call_guest(ops.get(name), heads, heads + 16)
        kernel.heap.kfree(heads)
        self._free(ops)
        self._forget_id(ops)

    def _slot(self, ops: StructView) -> int:
        return self._generic + 8 * self._kernel.memory.read_u32(ops.id)

    def _free(self, ops: StructView) -> None:
        if ops.id and ops.size:
            self._kernel.heap.kfree(self._kernel.memory.read_u64(self._slot(ops)))
            self._kernel.memory.write_u64(self._slot(ops), 0)

    def _forget_id(self, ops: StructView) -> None:
        if ops.id:
            self._ids.remove(self._kernel.memory.read_u32(ops.id))

    def save(self) -> Any:
        """State for a snapshot or file."""
        return [list(self._operations), list(self._ids)]

    def load(self, state: Any) -> None:
        """Put saved state back."""
        operations, ids = state
        self._operations, self._ids = list(operations), list(ids)


def _define(kind: str) -> None:
    @export(f"int register_pernet_{kind}(struct pernet_operations *ops)")
    async def register(kernel: KernelCore, ops: StructView) -> int:
        """Something for each network namespace: init is called for the one that there is."""
        return await kernel[Pernet].register(ops)

    @export(f"void unregister_pernet_{kind}(struct pernet_operations *ops)")
    async def unregister(kernel: KernelCore, ops: StructView) -> None:
        """Its exit is called."""
        await kernel[Pernet].unregister(ops)


for _kind in ("subsys", "device"):
    _define(_kind)
