"""Mapping files: regular ones, and devices, whose driver says what is seen (mm/mmap.c: mmap_region)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kmod_emu.errors import KernelError
from kmod_emu.fs.open import fput
from kmod_emu.kernel.mm import PROT_EXEC, PROT_READ, PROT_WRITE, MemoryMap
from kmod_emu.machine.memory import PAGE_SHIFT, PAGE_SIZE
from kmod_emu.uapi import errno
from kmod_emu.uapi.stat import S_IFREG

if TYPE_CHECKING:
    from kmod_emu.fs.file import File
    from kmod_emu.kernel.kernel import KernelCore

_VM_SHARED, _VM_MAYREAD, _VM_MAYWRITE, _VM_MAYEXEC, _VM_MAYSHARE = 8, 0x10, 0x20, 0x40, 0x80
_VM_FAULT_ERROR, _VM_FAULT_NOPAGE = 0x873, 0x100  # VM_FAULT_OOM, SIGBUS, SEGV and their like
_OPEN, _CLOSE = "open", "close"


class DeviceMapping:
    """A mapping of a device: the driver fills in pages when it is made, or when they are touched.

    Attributes:
        mm: The address space it was made in.
        file: What is mapped, with a reference.
        vma: Address of its `struct vm_area_struct`.
        users: How many address spaces have it.
    """

    def __init__(self, kernel: KernelCore, mm: MemoryMap | None, file: File, vma: int) -> None:
        self._kernel, self.mm, self.file, self.vma = kernel, mm, file, vma
        self.users = 1

    async def closed(self, mm: MemoryMap) -> None:
        """Part of it was unmapped: with the last part the driver is told, and the file let go."""
        if any(vma.owner is self for vma in mm.vmas):
            return
        self.users -= 1
        await self._tell(_CLOSE)
        if not self.users:
            self._kernel.user_pages.mappings.pop(self.vma, None)
            self._kernel.heap.kfree(self.vma)
            await fput(self.file)

    async def copied(self) -> None:
        """A child of fork(2) has it too."""
        self.users += 1
        await self._tell(_OPEN)

    async def _tell(self, method: str) -> None:
        function = self._method(method)
        if function:
            await self._kernel.call_guest(function, self.vma)

    def _method(self, name: str) -> int:
        ops = int(self._kernel.view("vm_area_struct", self.vma).vm_ops)
        if not ops:
            return 0
        offset = self._kernel.profile.offset("vm_operations_struct", name)
        return self._kernel.memory.read_u64(ops + offset)

    async def fault(self, mm: MemoryMap, address: int) -> bool:
        """Ask the driver for a page that is touched; whether there is one now (__do_fault)."""
        function, kernel = self._method("fault"), self._kernel
        vma = mm.find(address)
        if not function or vma is None:
            return False
        layout = kernel.profile.struct("vm_fault")
        vmf = kernel.heap.kmalloc(layout.size)
        view = kernel.view("vm_fault", vmf)
        view.set("address", address & -PAGE_SIZE)
        view.vma = self.vma
        view.pgoff = vma.offset + (address - vma.start >> PAGE_SHIFT)
        result = await kernel.call_guest_int(function, vmf)
        page = int(view.page)
        kernel.heap.kfree(vmf)
        if result & _VM_FAULT_ERROR:
            return False
        if not result & _VM_FAULT_NOPAGE and page:
            from kmod_emu.kernel.pages import page_to_virt

            mm.space.map(address, page_to_virt(page) - kernel.direct_address(0), vma.perms)
        kernel.memory.flush()
        return address >> PAGE_SHIFT in mm.space.pages


class DeviceMappings:
    """All mappings of devices, for snapshots and saved machines."""

    def __init__(self, kernel: KernelCore) -> None:
        self._kernel = kernel

    def save(self) -> Any:
        """Where the driver's struct is, the file, how many have it."""
        mappings = self._kernel.user_pages.mappings.values()
        return [[owner.vma, owner.file.address, owner.users] for owner in mappings if owner.file.address]

    def load(self, state: Any) -> None:
        """Put saved state back."""
        from kmod_emu.fs.open_files import OpenFiles

        kernel, found = self._kernel, {}
        for vma, file, users in state:
            owner = found[vma] = DeviceMapping(kernel, None, kernel[OpenFiles].find(file), vma)
            owner.users = users
        kernel.user_pages.mappings = dict(found)
        for task in kernel.tasks.by_pid.values():
            for piece in task.mm.vmas if task.mm is not None else []:
                piece.owner = found.get(piece.owner)
                if piece.owner is not None:
                    piece.owner.mm = task.mm


async def map_file(
    kernel: KernelCore,
    mm: MemoryMap,
    file: File,
    at: int | None,
    size: int,
    prot: int,
    offset: int,
    *,
    shared: bool,
) -> int:
    """Address of a new mapping of a file.

    Raises:
        KernelError: EACCES, ENODEV, and what a driver's mmap says.
    """
    if not file.readable or (shared and prot & PROT_WRITE and not file.writable):
        raise KernelError(errno.EACCES, "the descriptor is not open for that")
    data = file.inode.image
    if file.inode.is_type(S_IFREG) and data is not None:
        image = kernel.user_pages.image(data)
        page = offset >> PAGE_SHIFT
        return mm.map(size, prot, at=at, shared=shared, image=image, offset=page, name=file.dentry.path)
    if not file.op.can(file, "mmap"):
        raise KernelError(errno.ENODEV, f"{file.dentry.path} has no mmap method")
    return await _map_device(kernel, mm, file, at, size, prot, offset, shared=shared)


async def _map_device(
    kernel: KernelCore,
    mm: MemoryMap,
    file: File,
    at: int | None,
    size: int,
    prot: int,
    offset: int,
    *,
    shared: bool,
) -> int:
    vma = kernel.heap.kmalloc(kernel.profile.struct("vm_area_struct").size)
    owner = DeviceMapping(kernel, mm, file, vma)
    file.count += 1
    start = mm.map(size, prot, at=at, shared=shared, owner=owner, offset=offset >> PAGE_SHIFT)
    kernel.user_pages.mappings[vma] = owner
    view = kernel.view("vm_area_struct", vma)
    view.vm_start, view.vm_end, view.vm_pgoff = start, start + size, offset >> PAGE_SHIFT
    flags = prot & (PROT_READ | PROT_WRITE | PROT_EXEC) | _VM_MAYREAD | _VM_MAYWRITE | _VM_MAYEXEC
    if shared:
        flags |= _VM_SHARED | _VM_MAYSHARE
        if not file.writable:
            flags &= ~(_VM_SHARED | _VM_MAYWRITE)
    view.vm_flags, view.vm_page_prot, view.vm_file = flags, page_prot(flags), file.address
    try:
        result = await file.op.mmap(file, vma)
    except KernelError as error:
        result = -error.errno
    if result:
        mm.unmap(start, size)
        kernel.user_pages.mappings.pop(vma, None)
        kernel.heap.kfree(vma)
        await fput(file)
        raise KernelError(-result, "the driver's mmap refused")
    return start


def page_prot(flags: int) -> int:
    """Bits of a page table entry for the flags of a mapping (protection_map)."""
    present, writable, user, accessed, no_execute = 1, 2, 4, 0x20, 1 << 63
    bits = present | user | accessed
    if flags & PROT_WRITE and flags & _VM_SHARED:
        bits |= writable
    return bits | (0 if flags & PROT_EXEC else no_execute)


async def close_mappings(kernel: KernelCore, mm: MemoryMap) -> None:
    """The last user of an address space goes: drivers are told of their mappings."""
    for owner in dict.fromkeys(vma.owner for vma in mm.vmas if vma.owner is not None):
        for vma in [vma for vma in mm.vmas if vma.owner is owner]:
            mm.unmap(vma.start, vma.end - vma.start)
        await owner.closed(mm)
