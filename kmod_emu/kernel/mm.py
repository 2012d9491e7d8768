"""Memory of a program: mappings, pages brought in on demand, copies on write (mm/mmap.c, mm/memory.c)."""

from __future__ import annotations

from bisect import bisect_right, insort
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from kmod_emu.errors import KernelError
from kmod_emu.kernel.filemap import SharedMemory
from kmod_emu.kernel.layout import TASK_SIZE_MAX, USER_MMAP_BASE
from kmod_emu.machine.memory import (
    EXEC,
    PAGE_SHIFT,
    PAGE_SIZE,
    READ,
    WRITE,
    Access,
    AddressSpace,
    PageFault,
    page_align,
)
from kmod_emu.uapi import errno

if TYPE_CHECKING:
    from kmod_emu.kernel.filemap import FileImage
    from kmod_emu.kernel.kernel import KernelCore

PROT_READ, PROT_WRITE, PROT_EXEC = 1, 2, 4
MAP_SHARED, MAP_PRIVATE, MAP_FIXED, MAP_ANONYMOUS = 1, 2, 0x10, 0x20
MAP_FIXED_NOREPLACE = 0x10_0000
MMAP_MIN_ADDR = 0x1_0000
MAX_MAP_COUNT = 65530
_WANTED = {Access.READ: READ, Access.WRITE: WRITE, Access.FETCH: EXEC}


class Vma:
    """One mapping (`struct vm_area_struct`).

    Attributes:
        shared: Whether writes are seen by others that map the same.
        image: The file it shows, None for zeros.
        offset: Of the first page in the file, in pages.
        owner: What the mapping belongs to, told when it goes (a device's); its pages are not ours.
        name: As /proc/PID/maps has it.
    """

    __slots__ = ("end", "image", "name", "offset", "owner", "prot", "shared", "start")

    def __init__(
        self,
        start: int,
        end: int,
        prot: int,
        *,
        shared: bool = False,
        image: FileImage | None = None,
        offset: int = 0,
        owner: Any = None,
        name: str = "",
    ) -> None:
        self.start, self.end, self.prot, self.shared = start, end, prot, shared
        self.image, self.offset, self.owner, self.name = image, offset, owner, name

    def part(self, start: int, end: int) -> Vma:
        """The piece from `start` to `end`."""
        offset = self.offset + (start - self.start >> PAGE_SHIFT)
        return Vma(
            start, end, self.prot, shared=self.shared, image=self.image, offset=offset, owner=self.owner,
            name=self.name,
        )  # fmt: skip

    def allows(self, access: Access) -> bool:
        """Whether the program may do that here."""
        return bool(self.perms & _WANTED[access])

    @property
    def perms(self) -> int:
        """As page permissions: what can be written or executed can be read, as on x86."""
        prot = self.prot
        readable = READ if prot & (PROT_READ | PROT_WRITE | PROT_EXEC) else 0
        return readable | (WRITE if prot & PROT_WRITE else 0) | (EXEC if prot & PROT_EXEC else 0)


class MemoryMap:
    """The address space of a program (`struct mm_struct`).

    Attributes:
        vmas: Its mappings, by address.
        brk_start: Where the heap begins.
        brk: Where it ends.
        users: How many tasks share it.
        address: Of its mm_struct, when a task has it.
        out_of_memory: A page was wanted and the machine had none.
    """

    def __init__(self, kernel: KernelCore) -> None:
        self._kernel = kernel
        self._pages = kernel.user_pages
        self.space = AddressSpace()
        self.space.fault = self.fault
        self.vmas: list[Vma] = []
        self.brk_start = self.brk = 0
        self.users = 1
        self.address = 0
        self.out_of_memory = False

    # --- finding ------------------------------------------------------------------------------------

    def find(self, address: int) -> Vma | None:
        """The mapping that holds `address`."""
        index = bisect_right(self.vmas, address, key=lambda vma: vma.start) - 1
        return self.vmas[index] if index >= 0 and address < self.vmas[index].end else None

    def overlaps(self, start: int, end: int) -> bool:
        """Whether anything is mapped in a range."""
        return any(vma.start < end and vma.end > start for vma in self.vmas)

    def _free_range(self, size: int, gap: int) -> int:
        """The lowest address from the mapping base on with `size` free bytes and `gap` around them."""
        start = USER_MMAP_BASE + gap
        for vma in self.vmas:
            if vma.start >= start + size + gap:
                break
            start = max(start, vma.end + gap)
        if start + size > TASK_SIZE_MAX:
            raise KernelError(errno.ENOMEM, f"the program has no room for {size} bytes")
        return start

    # --- mapping ------------------------------------------------------------------------------------

    def map(self, size: int, prot: int, *, at: int | None = None, gap: int = 0, **kind: Any) -> int:
        """Map `size` bytes (rounded up to pages), over what is there if `at` is given; the address.

        Raises:
            KernelError: ENOMEM.
        """
        size = page_align(size)
        if at is None:
            at = self._free_range(size, gap)
        elif self.overlaps(at, at + size):
            self.unmap(at, size)
        if kind.get("shared") and not kind.get("image") and not kind.get("owner"):
            kind["image"] = SharedMemory(self._pages, self._kernel)
        if len(self.vmas) >= MAX_MAP_COUNT or at + size > TASK_SIZE_MAX:
            raise KernelError(errno.ENOMEM, "the program has too many mappings, or no room")
        insort(self.vmas, Vma(at, at + size, prot, **kind), key=lambda vma: vma.start)
        return at

    def _split(self, start: int, end: int) -> list[Vma]:
        """Cut mappings at both ends of a range; those inside it."""
        result: list[Vma] = []
        inside: list[Vma] = []
        for vma in self.vmas:
            cuts = [vma.start, *(cut for cut in (start, end) if vma.start < cut < vma.end), vma.end]
            pieces = [vma] if len(cuts) == 2 else [vma.part(*ends) for ends in pairwise(cuts)]
            result += pieces
            inside += [piece for piece in pieces if start <= piece.start and piece.end <= end]
        self.vmas = result
        return inside

    def unmap(self, start: int, size: int) -> list[Any]:
        """Remove all mappings of a range; the owners of those, to be told."""
        gone = self._split(start, start + page_align(size))
        for vma in gone:
            self.vmas.remove(vma)
            self._drop_pages(vma)
        self._kernel.memory.flush()
        return [vma.owner for vma in gone if vma.owner is not None]

    def move(self, start: int, size: int, new_size: int) -> int:
        """Make the mapping of a range longer, somewhere else; the new address."""
        (vma,) = self._split(start, start + size)
        there = self._free_range(new_size, 0)
        self.vmas.remove(vma)
        moved = vma.part(vma.start, vma.end)
        moved.start, moved.end = there, there + new_size
        insort(self.vmas, moved, key=lambda vma: vma.start)
        for page in self._present(vma):
            self.space.pages[page + (there - start >> PAGE_SHIFT)] = self.space.pages.pop(page)
        self._kernel.memory.flush()
        return there

    def _drop_pages(self, vma: Vma) -> None:
        for page in self._present(vma):
            paddr, _ = self.space.pages.pop(page)
            if vma.owner is None:
                self._pages.drop(paddr)

    def forget_pages(self, start: int, size: int) -> None:
        """Make a range as if it was never touched (MADV_DONTNEED)."""
        for vma in self._split(start, start + page_align(size)):
            if vma.owner is None:
                self._drop_pages(vma)
        self._kernel.memory.flush()

    def protect(self, start: int, size: int, prot: int) -> None:
        """Change what may be done with a range.

        Raises:
            KernelError: ENOMEM, not all of it is mapped.
        """
        end = start + page_align(size)
        inside = self._split(start, end)
        if sum(vma.end - vma.start for vma in inside) != end - start:
            raise KernelError(errno.ENOMEM, "part of the range is not mapped")
        for vma in inside:
            vma.prot = prot
            for page in range(vma.start >> PAGE_SHIFT, vma.end >> PAGE_SHIFT):
                entry = self.space.pages.get(page)
                if entry is not None:
                    self.space.pages[page] = (entry[0], self._perms_of(vma, entry[0]))
        self._kernel.memory.flush()

    def _perms_of(self, vma: Vma, paddr: int) -> int:
        return vma.perms & ~WRITE if not vma.shared and self._pages.shared(paddr) else vma.perms

    def populate(self, start: int, size: int) -> bool:
        """Bring in all pages of a range; False if the machine has not enough."""
        end = start + page_align(size)
        return all(self.space.find(page, Access.WRITE) for page in range(start, end, PAGE_SIZE))

    # --- faults -------------------------------------------------------------------------------------

    def fault(self, address: int, access: Access) -> bool:
        """Bring in or copy the page at `address`; False if the program may not do that."""
        vma = self.find(address)
        if vma is None or not vma.allows(access):
            return False
        try:
            return self._bring_in(vma, address, access)
        except MemoryError:
            self.out_of_memory = True
            return False

    def _bring_in(self, vma: Vma, address: int, access: Access) -> bool:
        number, pages = address >> PAGE_SHIFT, self._pages
        entry = self.space.pages.get(number)
        if entry is not None:
            paddr = entry[0]
            if access is not Access.WRITE or entry[1] & WRITE:
                return False
            if pages.shared(paddr) and not vma.shared:
                paddr = pages.copy(paddr)
                pages.drop(entry[0])
            self.space.pages[number] = (paddr, vma.perms)
            self._kernel.memory.flush()
            return True
        if vma.owner is not None:
            return False
        if vma.image is None:
            self.space.pages[number] = (pages.take(), vma.perms)
            return True
        paddr = vma.image.page(vma.offset + number - (vma.start >> PAGE_SHIFT)) or 0
        if not paddr:
            return False
        if access is Access.WRITE and not vma.shared:
            self.space.pages[number] = (pages.copy(paddr), vma.perms)
        else:
            pages.share(paddr)
            self.space.pages[number] = (paddr, self._perms_of(vma, paddr))
        return True

    # --- whole maps -----------------------------------------------------------------------------------

    def copy(self) -> MemoryMap:
        """What a child of fork(2) gets: the same pages, copied by whoever writes first."""
        child = MemoryMap(self._kernel)
        child.vmas = [vma.part(vma.start, vma.end) for vma in self.vmas]
        child.brk_start, child.brk = self.brk_start, self.brk
        ours, theirs = self.space.pages, child.space.pages
        for vma in self.vmas:
            keep = WRITE if vma.shared or vma.owner is not None else 0
            for page in self._present(vma):
                paddr, perms = ours[page]
                if vma.owner is None:
                    self._pages.share(paddr)
                ours[page] = theirs[page] = (paddr, perms & (~WRITE | keep))
        self._kernel.memory.flush()
        return child

    def _present(self, vma: Vma) -> list[int]:
        first, last = vma.start >> PAGE_SHIFT, vma.end >> PAGE_SHIFT
        if last - first < len(self.space.pages):
            return [page for page in range(first, last) if page in self.space.pages]
        return [page for page in self.space.pages if first <= page < last]

    def clear(self) -> None:
        """Unmap everything."""
        for vma in self.vmas:
            self._drop_pages(vma)
        for paddr, _ in self.space.pages.values():  # what was mapped behind our back
            self._pages.drop(paddr)
        self.space.pages.clear()
        self.vmas = []
        self.brk_start = self.brk = 0
        self._kernel.memory.flush()

    # --- access from Python, with the program's rights ----------------------------------------------------

    def write(self, address: int, data: bytes) -> None:
        """Write to the program's memory, whichever program runs."""
        memory = self._kernel.memory
        space, memory.user = memory.user, self.space
        try:
            memory.write(address, data)
        finally:
            memory.user = space

    def check_writable(self, address: int, size: int) -> None:
        """Raises PageFault where the program may not write."""
        for page in range(address & -PAGE_SIZE, address + size, PAGE_SIZE):
            entry = self.space.find(page, Access.WRITE)
            if entry is None or not entry[1] & WRITE:
                raise PageFault(max(page, address), Access.WRITE)

    def read(self, address: int, size: int) -> bytes:
        """Read the program's memory, whichever program runs."""
        memory = self._kernel.memory
        space, memory.user = memory.user, self.space
        try:
            return memory.read(address, size)
        finally:
            memory.user = space

    # --- saved machines -------------------------------------------------------------------------------

    def save(self) -> Any:
        """As plain data; what is in the pages is in memory, files behind mappings are not kept."""
        vmas = [
            [
                vma.start,
                vma.end,
                vma.prot,
                vma.shared,
                vma.name,
                vma.offset,
                vma.owner.vma if vma.owner else 0,
            ]
            for vma in self.vmas
        ]
        pages = list(self.space.pages.items())
        return {"vmas": vmas, "brk": [self.brk_start, self.brk], "pages": pages, "address": self.address}

    def load(self, state: Any) -> None:
        """Put saved state back; owners of mappings follow when there are files again (user/mmap.py)."""
        self.vmas = [
            Vma(*item[:3], shared=item[3], name=item[4], offset=item[5], owner=item[6] or None)
            for item in state["vmas"]
        ]
        self.brk_start, self.brk = state["brk"]
        self.address = state["address"]
        self.space.pages = {page: (paddr, perms) for page, (paddr, perms) in state["pages"]}
