"""Managed resources: what a driver gets for a device and never gives back (drivers/base/devres.c).

They hang in the device's own list, `devres_head`, and are released last first when its driver is unbound or
the device goes. A resource is a node with its release function, and behind it the data that drivers see.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.abi import lists
from kmod_emu.kernel.exports import export
from kmod_emu.kernel.percpu import __alloc_percpu, free_percpu
from kmod_emu.kernel.printk import kvasprintf
from kmod_emu.kernel.slab import ZERO_SIZE_PTR
from kmod_emu.kernel.vsprintf import vsnprintf
from kmod_emu.uapi import errno

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from kmod_emu.kernel.kernel import KernelCore
    from kmod_emu.kernel.va_list import Arguments

    Match = Callable[[int], Awaitable[bool]]

_FILE = "drivers/base/devres.c"
_RELEASE = 16  # offset of the release function; the list's entry is before it
_DATA = 40  # offset of the data
_GROUP_OPEN, _GROUP_CLOSE = "devres_group_open", "devres_group_close"
_GROUP_ID, _GROUP_OTHER = _DATA, _DATA + 8  # of a group's two nodes: what they are called, and each other


def _head(kernel: KernelCore, dev: int) -> int:
    return kernel.view("device", dev).addressof("devres_head")


def _nodes(kernel: KernelCore, dev: int) -> Iterator[int]:
    """A device's nodes, newest first."""
    memory, head = kernel.memory, _head(kernel, dev)
    node = memory.read_u64(head + 8)
    while node not in (head, 0):
        before = memory.read_u64(node + 8)
        yield node
        node = before


def _release_of(kernel: KernelCore, node: int) -> int:
    return kernel.memory.read_u64(node + _RELEASE)


def _alloc(kernel: KernelCore, release: int, size: int) -> int:
    """A resource that no device has yet: the address of its data, or 0."""
    node = kernel.heap.kmalloc(_DATA + size)
    if not node:
        return 0
    lists.init(kernel.memory, node)
    kernel.memory.write_u64(node + _RELEASE, release)
    return node + _DATA


async def release_all(kernel: KernelCore, dev: int) -> None:
    """devres_release_all(): everything a device has, newest first."""
    if kernel.memory.read_u64(_head(kernel, dev)):
        await _release(kernel, dev, list(_nodes(kernel, dev)))


async def _release(kernel: KernelCore, dev: int, nodes: list[int]) -> None:
    for node in nodes:
        lists.delete_init(kernel.memory, node)
    for node in nodes:
        release = _release_of(kernel, node)
        if release not in _group_marks(kernel):
            await kernel.call_guest(release, dev, node + _DATA)
        kernel.heap.kfree(node)


async def _find(kernel: KernelCore, dev: int, release: int, match: Match) -> int:
    """The newest resource with that release function that matches, 0 for none."""
    for node in list(_nodes(kernel, dev)):
        if _release_of(kernel, node) == release and await match(node + _DATA):
            return node + _DATA
    return 0


def _asking(kernel: KernelCore, dev: int, match: int, match_data: int) -> Match:
    """The driver's own match function; NULL matches everything."""

    async def matches(res: int) -> bool:
        return not match or bool(await kernel.call_guest_int(match, dev, res, match_data))

    return matches


async def remove(kernel: KernelCore, dev: int, release: int, match: Match) -> int:
    """Take the newest that matches from the device: the address of its data, 0 for none."""
    res = await _find(kernel, dev, release, match)
    if res:
        lists.delete_init(kernel.memory, res - _DATA)
    return res


# --- resources of the driver's own ------------------------------------------------------------------------


@export("void *devres_alloc_node(dr_release_t release, size_t size, gfp_t gfp, int nid)")
def devres_alloc_node(kernel: KernelCore, release: int, size: int, gfp: int, nid: int) -> int:
    """__devres_alloc_node's name until 5.13 (drivers/base/devres.c)."""
    return _alloc(kernel, release, size)


@export("void *__devres_alloc_node(dr_release_t release, size_t size, gfp_t gfp, int nid, const char *name)")
def __devres_alloc_node(kernel: KernelCore, release: int, size: int, gfp: int, nid: int, name: int) -> int:
    """A resource to be added to a device (drivers/base/devres.c)."""
    return _alloc(kernel, release, size)


@export("void devres_free(void *res)")
def devres_free(kernel: KernelCore, res: int) -> None:
    """Free a resource that no device has (drivers/base/devres.c)."""
    if res:
        if not lists.empty(kernel.memory, res - _DATA):
            kernel.oopses.bug("devres_free() of a resource that a device has", (_FILE, 225))
        kernel.heap.kfree(res - _DATA)


@export("void devres_add(struct device *dev, void *res)")
def devres_add(kernel: KernelCore, dev: int, res: int) -> None:
    """Give a resource to a device (drivers/base/devres.c)."""
    if not lists.empty(kernel.memory, res - _DATA):
        kernel.oopses.bug("devres_add() of a resource that a device has", (_FILE, 132))
    lists.add_tail(kernel.memory, res - _DATA, _head(kernel, dev))


@export("void *devres_find(struct device *dev, dr_release_t release, dr_match_t match, void *match_data)")
async def devres_find(kernel: KernelCore, dev: int, release: int, match: int, match_data: int) -> int:
    """The newest resource of a kind that matches (drivers/base/devres.c)."""
    return await _find(kernel, dev, release, _asking(kernel, dev, match, match_data))


@export("void *devres_get(struct device *dev, void *new_res, dr_match_t match, void *match_data)")
async def devres_get(kernel: KernelCore, dev: int, new_res: int, match: int, match_data: int) -> int:
    """The resource that is there already, else the new one is added (drivers/base/devres.c)."""
    release = _release_of(kernel, new_res - _DATA)
    res = await _find(kernel, dev, release, _asking(kernel, dev, match, match_data))
    if res:
        devres_free(kernel, new_res)
        return res
    devres_add(kernel, dev, new_res)
    return new_res


@export("void *devres_remove(struct device *dev, dr_release_t release, dr_match_t match, void *match_data)")
async def devres_remove(kernel: KernelCore, dev: int, release: int, match: int, match_data: int) -> int:
    """Take a resource from its device (drivers/base/devres.c)."""
    return await remove(kernel, dev, release, _asking(kernel, dev, match, match_data))


@export("int devres_destroy(struct device *dev, dr_release_t release, dr_match_t match, void *match_data)")
async def devres_destroy(kernel: KernelCore, dev: int, release: int, match: int, match_data: int) -> int:
    """Take it and free it, without releasing it (drivers/base/devres.c)."""
    res = await devres_remove(kernel, dev, release, match, match_data)
    if not res:
        return -errno.ENOENT
    devres_free(kernel, res)
    return 0


@export("int devres_release(struct device *dev, dr_release_t release, dr_match_t match, void *match_data)")
async def devres_release(kernel: KernelCore, dev: int, release: int, match: int, match_data: int) -> int:
    """Take it, release it and free it (drivers/base/devres.c)."""
    res = await devres_remove(kernel, dev, release, match, match_data)
    if not res:
        return -errno.ENOENT
    await kernel.call_guest(release, dev, res)
    devres_free(kernel, res)
    return 0


@export(
    "void devres_for_each_res(struct device *dev, dr_release_t release, dr_match_t match, void *match_data,"
    " void (*fn)(struct device *, void *, void *), void *data)"
)
async def devres_for_each_res(
    kernel: KernelCore, dev: int, release: int, match: int, match_data: int, fn: int, data: int
) -> None:
    """Call a function for every resource of a kind, newest first (drivers/base/devres.c)."""
    matches = _asking(kernel, dev, match, match_data)
    for node in list(_nodes(kernel, dev)):
        if _release_of(kernel, node) == release and await matches(node + _DATA):
            await kernel.call_guest(fn, dev, node + _DATA, data)


# --- groups -----------------------------------------------------------------------------------------------


def _group_marks(kernel: KernelCore) -> tuple[int, int]:
    return kernel.symbol(_GROUP_OPEN), kernel.symbol(_GROUP_CLOSE)


@export("void devres_group_open(struct device *dev, void *res)")
def devres_group_open(kernel: KernelCore, dev: int, res: int) -> None:
    """The mark at which a group begins: nothing to release."""


@export("void devres_group_close(struct device *dev, void *res)")
def devres_group_close(kernel: KernelCore, dev: int, res: int) -> None:
    """The mark at which it ends."""


def _find_group(kernel: KernelCore, dev: int, id: int) -> int:
    """The opening node of a group: of that name, or for NULL the newest that is open; 0 for none."""
    memory, (opening, _) = kernel.memory, _group_marks(kernel)
    for node in _nodes(kernel, dev):
        if _release_of(kernel, node) == opening:
            closed = not lists.empty(memory, memory.read_u64(node + _GROUP_OTHER))
            if memory.read_u64(node + _GROUP_ID) == id if id else not closed:
                return node
    return 0


@export("void *devres_open_group(struct device *dev, void *id, gfp_t gfp)")
def devres_open_group(kernel: KernelCore, dev: int, id: int, gfp: int) -> int:
    """What is added from here on can be released together (drivers/base/devres.c)."""
    opening, closing = (_alloc(kernel, mark, 16) for mark in _group_marks(kernel))
    name = id or opening - _DATA
    for mine, other in ((opening, closing), (closing, opening)):
        kernel.memory.write_u64(mine, name)
        kernel.memory.write_u64(mine + 8, other - _DATA)
    devres_add(kernel, dev, opening)
    return name


@export("void devres_close_group(struct device *dev, void *id)")
def devres_close_group(kernel: KernelCore, dev: int, id: int) -> None:
    """A group ends here (drivers/base/devres.c)."""
    if group := _find_group(kernel, dev, id):
        devres_add(kernel, dev, kernel.memory.read_u64(group + _GROUP_OTHER) + _DATA)
    else:
        kernel.warnings.warn(_FILE, 618, "", "devres_close_group+0x8e/0xa0")


def _members(kernel: KernelCore, dev: int, group: int) -> list[int]:
    """The nodes of a group, newest first, without its marks and groups that are only partly inside."""
    closing = kernel.memory.read_u64(group + _GROUP_OTHER)
    nodes = list(_nodes(kernel, dev))
    inside = nodes[nodes.index(closing) + 1 if closing in nodes else 0 : nodes.index(group)]
    marks = _group_marks(kernel)
    return [
        node
        for node in inside
        if _release_of(kernel, node) not in marks or kernel.memory.read_u64(node + _GROUP_OTHER) in inside
    ]


def _drop_marks(kernel: KernelCore, group: int) -> None:
    for node in (group, kernel.memory.read_u64(group + _GROUP_OTHER)):
        lists.delete_init(kernel.memory, node)
        kernel.heap.kfree(node)


@export("void devres_remove_group(struct device *dev, void *id)")
def devres_remove_group(kernel: KernelCore, dev: int, id: int) -> None:
    """Forget a group; what is in it stays (drivers/base/devres.c)."""
    if group := _find_group(kernel, dev, id):
        _drop_marks(kernel, group)
    else:
        kernel.warnings.warn(_FILE, 646, "", "devres_remove_group+0xe5/0x150")


@export("int devres_release_group(struct device *dev, void *id)")
async def devres_release_group(kernel: KernelCore, dev: int, id: int) -> int:
    """Release what is in a group, newest first; how many that was (drivers/base/devres.c)."""
    group = _find_group(kernel, dev, id)
    if not group:
        kernel.warnings.warn(_FILE, 695, "", "devres_release_group+0xf7/0x110")
        return 0
    members = _members(kernel, dev, group)
    _drop_marks(kernel, group)
    await _release(kernel, dev, members)
    return len(members)


# --- actions ----------------------------------------------------------------------------------------------


@export("void devm_action_release(struct device *dev, void *res)")
async def devm_action_release(kernel: KernelCore, dev: int, res: int) -> None:
    """Call the action: its function follows its argument (drivers/base/devres.c)."""
    await kernel.call_guest(kernel.memory.read_u64(res + 8), kernel.memory.read_u64(res))


def _add_action(kernel: KernelCore, dev: int, action: int, data: int) -> int:
    res = _alloc(kernel, kernel.symbol("devm_action_release"), 16)
    if not res:
        return -errno.ENOMEM
    kernel.memory.write_u64(res, data)
    kernel.memory.write_u64(res + 8, action)
    devres_add(kernel, dev, res)
    return 0


async def _take_action(kernel: KernelCore, dev: int, action: int, data: int) -> bool:
    async def same(res: int) -> bool:
        return (kernel.memory.read_u64(res), kernel.memory.read_u64(res + 8)) == (data, action)

    res = await remove(kernel, dev, kernel.symbol("devm_action_release"), same)
    devres_free(kernel, res)
    return bool(res)


@export("int devm_add_action(struct device *dev, void (*action)(void *), void *data)")
def devm_add_action(kernel: KernelCore, dev: int, action: int, data: int) -> int:
    """Call a function when the device is let go (drivers/base/devres.c)."""
    return _add_action(kernel, dev, action, data)


@export("int __devm_add_action(struct device *dev, void (*action)(void *), void *data, const char *name)")
def __devm_add_action(kernel: KernelCore, dev: int, action: int, data: int, name: int) -> int:
    """devm_add_action's name since 6.3 (drivers/base/devres.c)."""
    return _add_action(kernel, dev, action, data)


@export("void devm_remove_action(struct device *dev, void (*action)(void *), void *data)")
async def devm_remove_action(kernel: KernelCore, dev: int, action: int, data: int) -> None:
    """Do not call it after all (drivers/base/devres.c)."""
    if not await _take_action(kernel, dev, action, data):
        kernel.warnings.warn(_FILE, 771, "", "devm_remove_action+0x68/0x80")


@export("int devm_remove_action_nowarn(struct device *dev, void (*action)(void *), void *data)")
async def devm_remove_action_nowarn(kernel: KernelCore, dev: int, action: int, data: int) -> int:
    """devm_remove_action that returns ENOENT where there is none (drivers/base/devres.c)."""
    return 0 if await _take_action(kernel, dev, action, data) else -errno.ENOENT


@export("void devm_release_action(struct device *dev, void (*action)(void *), void *data)")
async def devm_release_action(kernel: KernelCore, dev: int, action: int, data: int) -> None:
    """Call it now, not later (drivers/base/devres.c)."""
    if await _take_action(kernel, dev, action, data):
        await kernel.call_guest(action, data)
    else:
        kernel.warnings.warn(_FILE, 793, "", "devm_release_action+0x79/0x90")


# --- memory -----------------------------------------------------------------------------------------------


@export("void devm_kmalloc_release(struct device *dev, void *res)")
def devm_kmalloc_release(kernel: KernelCore, dev: int, res: int) -> None:
    """Memory goes with its node: nothing to do (drivers/base/devres.c)."""


@export("void *devm_kmalloc(struct device *dev, size_t size, gfp_t gfp)")
def devm_kmalloc(kernel: KernelCore, dev: int, size: int, gfp: int) -> int:
    """Heap memory that is freed with the device (drivers/base/devres.c)."""
    if not size:
        return ZERO_SIZE_PTR
    res = _alloc(kernel, kernel.symbol("devm_kmalloc_release"), size)
    if res:
        devres_add(kernel, dev, res)
    return res


async def _take(kernel: KernelCore, dev: int, release: str, value: int, *, itself: bool = False) -> bool:
    """Free the resource that is at an address, or holds that value first; whether there was one."""

    async def same(res: int) -> bool:
        return (res if itself else kernel.memory.read_u64(res)) == value

    res = await remove(kernel, dev, kernel.symbol(release), same)
    devres_free(kernel, res)
    return bool(res)


@export("void devm_kfree(struct device *dev, const void *p)")
async def devm_kfree(kernel: KernelCore, dev: int, p: int) -> None:
    """Free it earlier (drivers/base/devres.c)."""
    if p <= ZERO_SIZE_PTR or kernel.symbols.is_rodata(p):
        return
    if not await _take(kernel, dev, "devm_kmalloc_release", p, itself=True):
        kernel.warnings.warn(_FILE, 1073, "", "devm_kfree+0x4a/0x60")


@export("void *devm_krealloc(struct device *dev, void *ptr, size_t new_size, gfp_t gfp)")
async def devm_krealloc(kernel: KernelCore, dev: int, ptr: int, new_size: int, gfp: int) -> int:
    """Resize it, keeping the contents and the place in the order of release (drivers/base/devres.c)."""
    if not new_size:
        await devm_kfree(kernel, dev, ptr)
        return ZERO_SIZE_PTR
    if ptr <= ZERO_SIZE_PTR:
        return devm_kmalloc(kernel, dev, new_size, gfp)
    node, release = ptr - _DATA, kernel.symbol("devm_kmalloc_release")
    if node not in _nodes(kernel, dev) or _release_of(kernel, node) != release:
        text = "Memory chunk not managed or managed by a different device."
        kernel.warnings.warn(_FILE, 924, text, "devm_krealloc+0x126/0x240")
        return 0
    usable = kernel.heap.use_all(node) - _DATA
    if new_size <= usable:
        return ptr
    fresh = _alloc(kernel, release, new_size)
    if fresh:
        kernel.memory.write(fresh, kernel.memory.read(ptr, usable))
        lists.add(kernel.memory, fresh - _DATA, node)
        lists.delete_init(kernel.memory, node)
        kernel.heap.kfree(node)
    return fresh


@export("void *devm_kmemdup(struct device *dev, const void *src, size_t len, gfp_t gfp)")
def devm_kmemdup(kernel: KernelCore, dev: int, src: int, len: int, gfp: int) -> int:
    """Copy bytes (drivers/base/devres.c)."""
    return _copy(kernel, dev, kernel.memory.read(src, len))


def _copy(kernel: KernelCore, dev: int, data: bytes) -> int:
    address = devm_kmalloc(kernel, dev, len(data), 0)
    if address > ZERO_SIZE_PTR:
        kernel.memory.write(address, data)
    return address


@export("char *devm_kstrdup(struct device *dev, const char *s, gfp_t gfp)")
def devm_kstrdup(kernel: KernelCore, dev: int, s: int, gfp: int) -> int:
    """Copy a string (drivers/base/devres.c)."""
    return _copy(kernel, dev, kernel.memory.read_cstring(s, 1 << 22) + b"\0") if s else 0


@export("const char *devm_kstrdup_const(struct device *dev, const char *s, gfp_t gfp)")
def devm_kstrdup_const(kernel: KernelCore, dev: int, s: int, gfp: int) -> int:
    """Copy a string, unless it is constant text of the kernel's (drivers/base/devres.c)."""
    return s if kernel.symbols.is_rodata(s) else devm_kstrdup(kernel, dev, s, gfp)


@export("char *devm_kasprintf(struct device *dev, gfp_t gfp, const char *fmt, ...)")
def devm_kasprintf(kernel: KernelCore, dev: int, gfp: int, fmt: bytes, args: Arguments) -> int:
    """Format into memory of the device's (drivers/base/devres.c)."""
    return _copy(kernel, dev, vsnprintf(fmt, args, kernel.format_context) + b"\0")


@export("char *devm_kvasprintf(struct device *dev, gfp_t gfp, const char *fmt, va_list ap)")
def devm_kvasprintf(kernel: KernelCore, dev: int, gfp: int, fmt: bytes, ap: int) -> int:
    """devm_kasprintf with a va_list (drivers/base/devres.c)."""
    text = kvasprintf(kernel, gfp, fmt, ap)
    address = devm_kstrdup(kernel, dev, text, gfp)
    kernel.heap.kfree(text)
    return address


@export("void devm_pages_release(struct device *dev, void *res)")
def devm_pages_release(kernel: KernelCore, dev: int, res: int) -> None:
    """Free pages (drivers/base/devres.c)."""
    kernel.pages.free(kernel.memory.read_u64(res))


@export("unsigned long devm_get_free_pages(struct device *dev, gfp_t gfp_mask, unsigned int order)")
def devm_get_free_pages(kernel: KernelCore, dev: int, gfp_mask: int, order: int) -> int:
    """Pages that are freed with the device (drivers/base/devres.c)."""
    address = kernel.pages.allocate(order)
    if address:
        _keep(kernel, dev, "devm_pages_release", address)
    return address


def _keep(kernel: KernelCore, dev: int, release: str, value: int) -> None:
    res = _alloc(kernel, kernel.symbol(release), 16)
    kernel.memory.write_u64(res, value)
    devres_add(kernel, dev, res)


@export("void devm_free_pages(struct device *dev, unsigned long addr)")
async def devm_free_pages(kernel: KernelCore, dev: int, addr: int) -> None:
    """Free them earlier (drivers/base/devres.c)."""
    if await _take(kernel, dev, "devm_pages_release", addr):
        kernel.pages.free(addr)
    else:
        kernel.warnings.warn(_FILE, 1169, "", "devm_free_pages+0x7c/0x90")


@export("void devm_percpu_release(struct device *dev, void *res)")
def devm_percpu_release(kernel: KernelCore, dev: int, res: int) -> None:
    """Free per-CPU memory (drivers/base/devres.c)."""
    free_percpu(kernel, kernel.memory.read_u64(res))


@export("void __percpu *__devm_alloc_percpu(struct device *dev, size_t size, size_t align)")
def __devm_alloc_percpu(kernel: KernelCore, dev: int, size: int, align: int) -> int:
    """Per-CPU memory that is freed with the device (drivers/base/devres.c)."""
    address = __alloc_percpu(kernel, size, align)
    if address:
        _keep(kernel, dev, "devm_percpu_release", address)
    return address


@export("void devm_free_percpu(struct device *dev, void __percpu *pdata)")
async def devm_free_percpu(kernel: KernelCore, dev: int, pdata: int) -> None:
    """Free it earlier (drivers/base/devres.c)."""
    if await _take(kernel, dev, "devm_percpu_release", pdata):
        free_percpu(kernel, pdata)
    else:
        kernel.warnings.warn(_FILE, 1238, "", "devm_free_percpu+0x3f/0x50")
