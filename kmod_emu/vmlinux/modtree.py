"""The tree of modules by address, in kernels whose own functions for it are inlined (kernel/module.c, 5.10).

It is a latch tree: two red-black trees with the same nodes, of which readers use one while the other changes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kmod_emu.kernel.kernel import KernelCore

_PARTS = ("core_layout", "init_layout")
_LINK, _RIGHT, _LEFT, _RB_NODE = 8, 8, 16, 24  # in struct mod_tree_node and struct rb_node; its size
_ROOTS = 8  # in struct mod_tree_root, behind the sequence counter


async def insert(kernel: KernelCore, module: int) -> None:
    """mod_tree_insert(): code and data, and those of its init if there are any."""
    for part in _PARTS:
        layout = kernel.view("module", module).addressof(part)
        node = layout + kernel.profile.offset("module_layout", "mtn")
        kernel.memory.write_u64(node, module)
        if part == _PARTS[0] or kernel.view("module_layout", layout).size:
            for tree in (0, 1):
                await _link(kernel, node, tree)


async def _link(kernel: KernelCore, node: int, tree: int) -> None:
    memory, place = kernel.memory, _LINK + tree * _RB_NODE
    to_base = kernel.profile.offset("module_layout", "mtn") + place
    base = memory.read_u64(node + place - to_base)
    root = link = kernel.symbol("mod_tree") + _ROOTS + 8 * tree
    parent = 0
    while below := memory.read_u64(link):
        parent = below
        link = parent + (_LEFT if base < memory.read_u64(parent - to_base) else _RIGHT)
    for offset, value in ((0, parent), (_RIGHT, 0), (_LEFT, 0)):
        memory.write_u64(node + place + offset, value)
    memory.write_u64(link, node + place)
    await kernel.call_guest(kernel.symbol("rb_insert_color"), node + place, root)


async def remove_init(kernel: KernelCore, module: int) -> None:
    """mod_tree_remove_init(): it has no init any more."""
    await _unlink(kernel, module, _PARTS[1])


async def remove(kernel: KernelCore, module: int) -> None:
    """mod_tree_remove(): it is gone."""
    await _unlink(kernel, module, _PARTS[0])
    await _unlink(kernel, module, _PARTS[1])


async def _unlink(kernel: KernelCore, module: int, part: str) -> None:
    layout = kernel.view("module", module).addressof(part)
    if part == _PARTS[0] or kernel.view("module_layout", layout).size:
        node = layout + kernel.profile.offset("module_layout", "mtn")
        for tree in (0, 1):
            root = kernel.symbol("mod_tree") + _ROOTS + 8 * tree
            await kernel.call_guest(kernel.symbol("rb_erase"), node + _LINK + tree * _RB_NODE, root)
