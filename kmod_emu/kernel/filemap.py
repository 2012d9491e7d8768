"""Pages that programs share: copies of one page, and pages of files (mm/filemap.c, mm/rmap.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kmod_emu.machine.memory import PAGE_SHIFT, PAGE_SIZE

if TYPE_CHECKING:
    from kmod_emu.kernel.kernel import KernelCore


class PhysicalPages:
    """Pages that several programs see: how many more users each has than one, and files' pages in memory."""

    def __init__(self, kernel: KernelCore) -> None:
        self._kernel = kernel
        self._more: dict[int, int] = {}
        self._images: dict[int, FileImage] = {}
        self.mappings: dict[int, Any] = {}  # struct vm_area_struct -> the device mapping it describes
        self.generation = 0  # of the machine: counts how often a saved one was loaded

    def take(self) -> int:
        """Physical address of a zeroed page.

        Raises:
            MemoryError: There is none left.
        """
        address = self._kernel.pages.allocate()
        if not address and self._images:
            self.drop_images()
            address = self._kernel.pages.allocate()
        if not address:
            raise MemoryError
        return address - self._kernel.direct_address(0)

    def copy(self, paddr: int) -> int:
        """Physical address of a page with the same contents."""
        fresh, memory = self.take(), self._kernel.memory
        memory.write(
            self._kernel.direct_address(fresh), memory.read(self._kernel.direct_address(paddr), PAGE_SIZE)
        )
        return fresh

    def share(self, paddr: int) -> None:
        """One more user."""
        self._more[paddr] = self._more.get(paddr, 0) + 1

    def shared(self, paddr: int) -> bool:
        """Whether it has more than one user."""
        return paddr in self._more

    def drop(self, paddr: int) -> None:
        """One user less; the last one frees it."""
        more = self._more.pop(paddr, 0)
        if not more:
            self._kernel.pages.free(self._kernel.direct_address(paddr))
        elif more > 1:
            self._more[paddr] = more - 1

    def image(self, data: bytes) -> FileImage:
        """The pages of a file with these contents: programs that run it share them."""
        image = self._images.get(id(data))
        if image is None:
            image = self._images[id(data)] = FileImage(self, self._kernel, data)
        return image

    def drop_images(self) -> None:
        """Forget files' pages that no program uses (they are read again when needed)."""
        for image in self._images.values():
            image.clear()
        self._images.clear()

    def save(self) -> Any:
        """State for a snapshot or file: files' pages are not kept."""
        self.drop_images()
        return list(self._more.items())

    def load(self, state: Any) -> None:
        """Put saved state back."""
        self._images.clear()
        self.generation += 1
        self._more = dict(state)


class FileImage:
    """A file's contents as pages, brought in one by one."""

    def __init__(self, pages: PhysicalPages, kernel: KernelCore, data: bytes) -> None:
        self._pages, self._kernel, self.data = pages, kernel, data
        self._present: dict[int, int] = {}

    def page(self, index: int) -> int | None:
        """Physical address of page `index`, None behind the end of the file."""
        if index << PAGE_SHIFT >= len(self.data):
            return None
        paddr = self._present.get(index)
        if paddr is None:
            paddr = self._present[index] = self._pages.take()
            piece = self.data[index << PAGE_SHIFT : (index + 1) << PAGE_SHIFT]
            self._kernel.memory.write(self._kernel.direct_address(paddr), piece)
        return paddr

    def clear(self) -> None:
        """Give the pages back; programs keep those they have."""
        for paddr in self._present.values():
            self._pages.drop(paddr)
        self._present.clear()


class SharedMemory(FileImage):
    """Zeros that the programs which inherit the mapping share; it goes with the last mapping."""

    def __init__(self, pages: PhysicalPages, kernel: KernelCore) -> None:
        super().__init__(pages, kernel, b"")
        self._generation = pages.generation

    def page(self, index: int) -> int | None:
        """Physical address of page `index`."""
        if index not in self._present:
            self._present[index] = self._pages.take()
        return self._present[index]

    def __del__(self) -> None:
        if self._generation == self._pages.generation:  # no other machine was loaded meanwhile
            self.clear()
