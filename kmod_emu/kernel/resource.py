"""Who has which ports and physical addresses: trees of `struct resource` (kernel/resource.c)."""

from __future__ import annotations

from struct import pack_into
from typing import TYPE_CHECKING

from kmod_emu.errors import KernelError
from kmod_emu.kernel.exports import export, export_data
from kmod_emu.kernel.tasks import CAP_SYS_ADMIN
from kmod_emu.uapi import errno

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kmod_emu.abi.structs import StructView
    from kmod_emu.kernel.kernel import KernelCore
    from kmod_emu.kernel.tasks import Task

_IO, _MEM, _IRQ = 0x100, 0x200, 0x400
_TYPE_BITS, _EXT_TYPE_BITS, _BUSY = 0x1F00, 0x0100_0000, 0x8000_0000
_SHOWN_DEPTH = 5

# What a PC has: first, last, name. Nothing answers there unless a device model does.
_PORTS = (
    (0x00, 0x1F, "dma1"), (0x20, 0x21, "pic1"), (0x40, 0x43, "timer0"), (0x50, 0x53, "timer1"),
    (0x60, 0x60, "keyboard"), (0x64, 0x64, "keyboard"), (0x70, 0x77, "rtc0"), (0x80, 0x8F, "dma page reg"),
    (0xA0, 0xA1, "pic2"), (0xC0, 0xDF, "dma2"), (0xF0, 0xFF, "fpu"), (0x3C0, 0x3DF, "vga+"),
    (0x3F8, 0x3FF, "serial"), (0xCF8, 0xCFF, "PCI conf1"),
)  # fmt: skip
_MEMORY = (
    (0x0, 0xFFF, "Reserved"), (0x1000, 0x9FFFF, "System RAM"), (0xA0000, 0xFFFFF, "Reserved"),
    (0x100000, 0x7FFFFFF, "System RAM"), (0xFEC00000, 0xFEC003FF, "IOAPIC 0"),
    (0xFEE00000, 0xFEE00FFF, "Local APIC"),
)  # fmt: skip


def _tree(symbol: str, name: str, end: int, flags: int, parts: tuple[tuple[int, int, str], ...]) -> None:
    """Define a root with what the kernel itself has below it, names behind all of them."""
    names = [name, *(part[2] for part in parts)]

    def size(kernel: KernelCore) -> int:
        return kernel.profile.struct("resource").size * len(names) + sum(len(text) + 1 for text in names)

    @export_data(f"struct resource {symbol}", size)
    def lay_out(kernel: KernelCore, address: int) -> None:
        """Filled at boot."""
        layout = kernel.profile.struct("resource")
        text = layout.size * len(names)
        blob = bytearray(text)
        entries = [(0, end, flags), *((first, last, flags | _BUSY) for first, last, _ in parts)]
        for index, (first, last, kind) in enumerate(entries):
            at = index * layout.size
            facts = {"start": first, "end": last, "flags": kind, "name": address + text}
            if not index:
                facts["child"] = address + layout.size
            else:
                facts["parent"] = address
                facts["sibling"] = address + at + layout.size if index < len(parts) else 0
            for member, value in facts.items():
                pack_into("<Q", blob, at + layout.offset(member), value)
            text += len(names[index]) + 1
        kernel.memory.write(address, blob + "".join(f"{each}\0" for each in names).encode())


_tree("ioport_resource", "PCI IO", 0xFFFF, _IO, _PORTS)
_tree("iomem_resource", "PCI mem", (1 << 46) - 1, _MEM, _MEMORY)


def _view(kernel: KernelCore, address: int) -> StructView:
    return kernel.view("resource", address)


def _children(kernel: KernelCore, parent: int) -> Iterator[StructView]:
    child = _view(kernel, parent).child
    while child:
        view = _view(kernel, child)
        child = view.sibling
        yield view


def _insert(kernel: KernelCore, parent: int, new: StructView) -> int:
    """__request_resource(): 0, or the resource that is in the way."""
    root = _view(kernel, parent)
    if new.end < new.start or new.start < root.start or new.end > root.end:
        return parent
    before = 0
    for child in _children(kernel, parent):
        if child.start > new.end:
            break
        if child.end >= new.start:
            return child.address
        before = child.address
    if before:
        new.sibling, _view(kernel, before).sibling = _view(kernel, before).sibling, new.address
    else:
        new.sibling, root.child = root.child, new.address
    new.parent = parent
    return 0


def _remove(kernel: KernelCore, resource: StructView) -> bool:
    parent = _view(kernel, resource.parent)
    if parent.child == resource.address:
        parent.child = resource.sibling
    else:
        before = next((c for c in _children(kernel, parent.address) if c.sibling == resource.address), None)
        if before is None:
            return False
        before.sibling = resource.sibling
    resource.parent = 0
    return True


@export("int request_resource(struct resource *root, struct resource *new)")
def request_resource(kernel: KernelCore, root: int, new: int) -> int:
    """Put a driver's own resource into a tree (kernel/resource.c)."""
    if conflict := _insert(kernel, root, _view(kernel, new)):
        raise KernelError(errno.EBUSY, f"{name_of(kernel, conflict)} has some of these addresses")
    return 0


@export("int release_resource(struct resource *old)")
def release_resource(kernel: KernelCore, old: int) -> int:
    """Take it out (kernel/resource.c)."""
    return 0 if _remove(kernel, _view(kernel, old)) else -errno.EINVAL


@export(
    "struct resource *__request_region(struct resource *parent, resource_size_t start, resource_size_t n,"
    " const char *name, int flags)"
)
def __request_region(kernel: KernelCore, parent: int, start: int, n: int, name: int, flags: int) -> int:
    """request_region(), request_mem_region(): a new busy resource, or NULL (kernel/resource.c)."""
    place = kernel.heap.kmalloc(kernel.profile.struct("resource").size)
    if not place:
        return 0
    new = _view(kernel, place)
    new.start, new.end = start, start + n - 1
    new.set("name", name)
    new.flags = _view(kernel, parent).flags & (_TYPE_BITS | _EXT_TYPE_BITS) | _BUSY | flags & 0xFFFF_FFFF
    while conflict := _insert(kernel, parent, new):
        if conflict == parent or _view(kernel, conflict).flags & _BUSY:
            kernel.heap.kfree(place)
            return 0
        parent = conflict
    return place


@export("void __release_region(struct resource *parent, resource_size_t start, resource_size_t n)")
def __release_region(kernel: KernelCore, parent: int, start: int, n: int) -> None:
    """Give back what __request_region() gave (kernel/resource.c)."""
    end = start + n - 1
    while child := next((c for c in _children(kernel, parent) if c.start <= start and c.end >= end), None):
        if child.flags & _BUSY:
            if child.start == start and child.end == end:
                _remove(kernel, child)
                if child.address in kernel.heap.live:
                    kernel.heap.kfree(child.address)
                return
            break
        parent = child.address
    text = f"Trying to free nonexistent resource <{start:#018x}-{end:#018x}>"
    kernel.printk.emit(f"resource: {text}\n", 4)


def name_of(kernel: KernelCore, address: int) -> str:
    """A resource's name as /proc shows it."""
    name = _view(kernel, address).get("name")
    return kernel.memory.read_text(name) if name else "<BAD>"


def show(kernel: KernelCore, symbol: str, task: Task) -> str:
    """/proc/ioports and /proc/iomem: addresses are for administrators only."""
    root = kernel.symbol(symbol)
    width = 4 if _view(kernel, root).end < 0x10000 else 8
    lines: list[str] = []

    def walk(parent: int, depth: int) -> None:
        for child in _children(kernel, parent):
            first, last = (child.start, child.end) if task.capable(CAP_SYS_ADMIN) else (0, 0)
            name = name_of(kernel, child.address)
            lines.append(f"{'':{2 * depth}}{first:0{width}x}-{last:0{width}x} : {name}\n")
            if depth + 1 < _SHOWN_DEPTH:
                walk(child.address, depth + 1)

    walk(root, 0)
    return "".join(lines)
