"""Guest memory: arenas of RAM, page permissions and the software MMU.

The machine has one flat space of guest-physical RAM, cut into arenas. Each arena is an anonymous host
mapping that Unicorn and Python share, so reading guest memory from Python is slicing a buffer. Kernel
addresses reach arenas through fixed windows (one arena, one virtual range, one permission byte a page);
user addresses go through an `AddressSpace`, a page table. `Memory.fill` is what the processor asks on a
TLB miss.
"""

from __future__ import annotations

import ctypes
import mmap
import struct
from contextlib import contextmanager
from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator
    from typing import BinaryIO

PAGE_SHIFT = 12
PAGE_SIZE = 1 << PAGE_SHIFT
PAGE_MASK = ~(PAGE_SIZE - 1)

READ, WRITE, EXEC = 1, 2, 4  # as in UC_PROT_*
_NEEDS = (READ, WRITE, EXEC)  # by `Access`

_OFFSET, _LAST_U64 = PAGE_SIZE - 1, PAGE_SIZE - 8  # within a page; where the last value begins
_MAPPED = 1 << 16  # arenas consist of so many bytes: no host has pages that are larger
_WINDOW_SHIFT = 29  # windows are found by the half gigabyte they lie in
_U16, _U32, _U64 = struct.Struct("<H"), struct.Struct("<I"), struct.Struct("<Q")
_MASK64 = (1 << 64) - 1
_USER_END = 1 << 47
_MOST_LOST = 256
_EXECUTABLE = bytes(value >> 2 & 1 for value in range(256))  # of permissions: is EXEC among them


class Access(IntEnum):
    """What an access wanted to do."""

    READ = 0
    WRITE = 1
    FETCH = 2


class PageFault(Exception):
    """An access to guest memory that no mapping allows.

    Args:
        address: The first virtual address that could not be reached.
        access: What was tried.
        present: Whether a page is mapped there (then its permissions forbade the access).
        guarded: Only `Memory.guarded` forbade it.
    """

    def __init__(self, address: int, access: Access, present: bool = False, *, guarded: bool = False) -> None:
        super().__init__(f"{access.name.lower()} at {address:#018x}")
        self.address = address
        self.access = access
        self.present = present
        self.guarded = guarded


def page_align(size: int) -> int:
    """Round up to whole pages.

    >>> page_align(1), page_align(4096)
    (4096, 4096)
    """
    return (size + PAGE_SIZE - 1) & PAGE_MASK


class Arena:
    """A contiguous piece of guest RAM with one fixed kernel-virtual window.

    Attributes:
        name: For reports.
        base: Virtual address of the first byte.
        paddr: Guest-physical address of the first byte.
        size: Bytes, a multiple of the page size. Host memory is taken only for pages that are touched.
        raw: The bytes; a slice is a copy.
        view: The bytes, writable; for readers. Writers go through `Memory`, which keeps snapshots right.
        perms: One byte a page: 0 = not mapped, else READ | WRITE | EXEC.
        fresh: One byte a page: 1 = written since the last snapshot (or no snapshot exists).
        executed: One byte a page: 1 = the processor may have translated code of it.

    Args:
        file: What it begins with, by guest-physical address; it is not written to. None: zeros.
    """

    def __init__(self, name: str, base: int, paddr: int, size: int, file: BinaryIO | None = None) -> None:
        self.name, self.base, self.paddr, self.size = name, base, paddr, size
        flags = mmap.MAP_PRIVATE | getattr(mmap, "MAP_NORESERVE", 0)
        access = mmap.PROT_READ | mmap.PROT_WRITE
        if file is None:
            self.raw = mmap.mmap(-1, size, flags=flags | mmap.MAP_ANONYMOUS)
        else:
            self.raw = mmap.mmap(file.fileno(), size, flags=flags, prot=access, offset=paddr)
        self.host_address = ctypes.addressof(ctypes.c_char.from_buffer(self.raw))
        self.view = memoryview(self.raw)
        self.perms = bytearray(size >> PAGE_SHIFT)
        self.fresh = bytearray(b"\1") * (size >> PAGE_SHIFT)
        self.executed = bytearray(size >> PAGE_SHIFT)

    @property
    def end(self) -> int:
        """Virtual address of the first byte after the window."""
        return self.base + self.size

    def page(self, index: int) -> bytes:
        """The contents of page number `index`."""
        return bytes(self.view[index << PAGE_SHIFT : (index + 1) << PAGE_SHIFT])


class AddressSpace:
    """A page table for user addresses: virtual page number -> (physical page address, permissions).

    Attributes:
        fault: Asked for a page that is missing, or written to and read-only; True if it is there now.
    """

    def __init__(self) -> None:
        self.pages: dict[int, tuple[int, int]] = {}
        self.fault: Callable[[int, Access], bool] = lambda address, access: False

    def find(self, address: int, access: Access) -> tuple[int, int] | None:
        """The page at `address`, brought in if need be."""
        entry = self.pages.get(address >> PAGE_SHIFT)
        missing = entry is None or (access is Access.WRITE and not entry[1] & WRITE)
        if missing and self.fault(address, access):
            entry = self.pages.get(address >> PAGE_SHIFT)
        return entry

    def map(self, address: int, paddr: int, perms: int) -> None:
        """Map the page at `address` to the physical page `paddr`."""
        self.pages[address >> PAGE_SHIFT] = (paddr, perms)

    def unmap(self, address: int) -> int | None:
        """Remove the page at `address`; returns its physical address, or None where there was none."""
        entry = self.pages.pop(address >> PAGE_SHIFT, None)
        return entry[0] if entry else None


class Memory:
    """Guest memory as virtual addresses see it, and the page-fault rule.

    Python reads and writes with the rights of a debugger: permissions say what the *guest* may do, an
    address only has to be mapped.
    """

    def __init__(self) -> None:
        self.arenas: list[Arena] = []
        self._windows: dict[int, Arena] = {}
        self._direct: tuple[int, int] = (0, 0)
        self._next_paddr = 0
        self._contents: BinaryIO | None = None
        self.user: AddressSpace | None = None
        self.user_mode = False  # set by the processor while it is in ring 3, which only reaches `user`
        self.smap = False  # whether the kernel may not touch user pages by itself
        self.smep = False  # whether the kernel may not execute user pages
        self.io_pages: dict[int, int] = {}  # page number of an address -> physical page of a device
        self.guarded: dict[int, int] = {}  # physical page -> permissions that a debugger holds back
        self.aliases: dict[int, int] = {}  # page number -> physical address, of pages shown once more
        self.awaited_page = -1  # page number of an address, whose next TLB miss is noted
        self.page_arrived = False
        # What the processor may know since the last flush: physical pages, those of them that have addresses
        # beside a window's and the direct map's; addresses of pages that it may write, and those of ring 3.
        self._given: set[int] = set()
        self._elsewhere: set[int] = set()
        self._writable: set[int] = set()
        self._given_user: set[int] = set()
        self.lost = 0  # how often it asked again for one that it had been given
        self._most_lost = _MOST_LOST
        self.keep_page: Callable[[Arena, int], None] | None = None  # set by the snapshot tree
        self.write_protect: Callable[[], bool] = lambda: True  # set by the processor: is CR0.WP on
        self.flush_all: Callable[[], None] = lambda: None  # set by the processor: forget cached translations
        self.forget_pages: Callable[[Collection[int]], bool] = lambda pages: (
            False
        )  # likewise: of some pages, if it can
        self.drop_code: Callable[[int, int], None] = lambda address, size: None  # likewise: translated code

    @contextmanager
    def begin_with(self, contents: BinaryIO) -> Iterator[None]:
        """Meanwhile arenas that are added begin with what a file holds at their physical addresses."""
        self._contents = contents
        yield
        self._contents = None

    # --- layout -------------------------------------------------------------------------------------

    def add_arena(self, name: str, base: int, size: int) -> Arena:
        """Create RAM of `size` bytes visible at kernel address `base`; nothing is mapped yet."""
        arena = Arena(name, base, self._next_paddr, -(-size // _MAPPED) * _MAPPED, self._contents)
        window = range(base >> _WINDOW_SHIFT, ((base + arena.size - 1) >> _WINDOW_SHIFT) + 1)
        for number in window:
            if number in self._windows:
                raise ValueError(f"{name}: the window of {self._windows[number].name} is in the way")
        self._windows.update(dict.fromkeys(window, arena))
        self._next_paddr += arena.size
        self.arenas.append(arena)
        return arena

    @property
    def ram_end(self) -> int:
        """The first physical address behind all RAM."""
        return self._next_paddr

    def direct_map(self, base: int) -> None:
        """Make all arenas' RAM, by physical address, also visible at `base` (readable and writable)."""
        self._direct = (base, base + self._next_paddr)

    def protect(self, address: int, size: int, perms: int) -> None:
        """Set the permissions of whole pages of a window; 0 unmaps them.

        Raises:
            LookupError: The range does not lie in one window.
        """
        arena = self.arena_of(address)
        if address + size > arena.end:
            raise LookupError(f"{address + size:#x} lies behind the window of {arena.name}")
        first, last = (address - arena.base) >> PAGE_SHIFT, (address + size - 1 - arena.base) >> PAGE_SHIFT
        if not perms & EXEC:
            self.forget_code(arena, first, last)
        had = set(arena.perms[first : last + 1])
        arena.perms[first : last + 1] = bytes([perms]) * (last + 1 - first)
        if any(before & ~perms for before in had):  # what becomes possible is asked for anew
            frame = arena.paddr >> PAGE_SHIFT
            self._forget(arena, self._given.intersection(range(frame + first, frame + last + 1)))
        if not perms & EXEC:
            arena.executed[first : last + 1] = bytes(last + 1 - first)

    def put_perms(self, arena: Arena, perms: bytes) -> None:
        """Set the permissions of all pages of an arena."""
        executable = perms.translate(_EXECUTABLE)
        index = arena.executed.find(1)
        while index >= 0:
            if not executable[index]:
                self.forget_code(arena, index, index)
                arena.executed[index] = 0
            index = arena.executed.find(1, index + 1)
        first, before = arena.paddr >> PAGE_SHIFT, bytes(arena.perms)
        arena.perms[:] = perms
        frames = range(first, first + len(perms))
        less = {
            each for each in self._given.intersection(frames) if before[each - first] & ~perms[each - first]
        }
        self._forget(arena, less)

    def _forget(self, arena: Arena, frames: set[int]) -> None:
        """Make the processor forget all translations to some of an arena's pages."""
        if not frames:
            return
        self._given -= frames
        pages = [arena.base - arena.paddr + (frame << PAGE_SHIFT) for frame in frames]
        if arena.base != self._direct[0]:
            pages += [self._direct[0] + (frame << PAGE_SHIFT) for frame in frames]
        self._writable.difference_update(page >> PAGE_SHIFT for page in pages)
        if not self._elsewhere.isdisjoint(frames) or not self.forget_pages(pages):
            self.flush()

    def forget_writes(self) -> None:
        """Nothing has been written from here on: make the processor ask at the first write to each page."""
        for arena in self.arenas:
            arena.fresh[:] = bytes(len(arena.fresh))
        self._forget_addresses(self._writable)

    def flush_user(self) -> None:
        """Make the processor forget the translations of ring 3's addresses."""
        self._writable -= self._given_user
        self._forget_addresses(self._given_user)

    def _forget_addresses(self, pages: set[int]) -> None:
        if pages and not self.forget_pages([page << PAGE_SHIFT for page in pages]):
            self.flush()
        pages.clear()

    def make_room(self) -> None:
        """The processor has forgotten much for want of room, of which it takes more when it forgets all."""
        self._most_lost *= 2  # if that did not help, it will not help soon
        self.flush()

    @property
    def crowded(self) -> bool:
        """Whether it may be time to `make_room`."""
        return self.lost > self._most_lost

    def flush(self) -> None:
        """Make the processor forget all translations of addresses: mappings or permissions have changed."""
        for known in (self._given, self._elsewhere, self._writable, self._given_user):
            known.clear()
        self.lost = 0
        self.flush_all()

    def arena_of(self, address: int) -> Arena:
        """The arena whose window holds `address`; LookupError where there is none."""
        arena = self._windows.get(address >> _WINDOW_SHIFT)
        if arena is None or not arena.base <= address < arena.end:
            raise LookupError(f"{address:#x} lies in no arena")
        return arena

    # --- translation --------------------------------------------------------------------------------

    def _resolve(self, address: int, access: Access) -> tuple[Arena, int, int]:
        """Find (arena, offset in it, permissions) of one virtual address, or raise PageFault."""
        if address < _USER_END:
            if self.user is not None and (entry := self.user.find(address, access)):
                arena, offset = self._physical(entry[0])
                return arena, offset | (address & _OFFSET), entry[1]
        elif not self.user_mode:
            window = self._windows.get(address >> _WINDOW_SHIFT)
            if window is not None:
                offset = address - window.base
                if 0 <= offset < window.size and (perms := window.perms[offset >> PAGE_SHIFT]):
                    return window, offset, perms
            if self._direct[0] <= address < self._direct[1]:
                arena, offset = self._physical(address - self._direct[0])
                if perms := arena.perms[offset >> PAGE_SHIFT]:
                    return arena, offset, READ if perms & EXEC else READ | WRITE
            if self.aliases and (paddr := self.aliases.get(address >> PAGE_SHIFT)) is not None:
                arena, offset = self._physical(paddr)
                return arena, offset | (address & _OFFSET), READ | WRITE
        raise PageFault(address, access)

    def _physical(self, paddr: int) -> tuple[Arena, int]:
        for arena in self.arenas:
            if 0 <= paddr - arena.paddr < arena.size:
                return arena, paddr - arena.paddr
        raise LookupError(f"no RAM at physical address {paddr:#x}")

    def translate(self, address: int) -> int:
        """Guest-physical address of a mapped virtual address."""
        arena, offset, _ = self._resolve(address, Access.READ)
        return arena.paddr + offset

    def mapped(self, address: int, perms: int = READ) -> bool:
        """Whether `address` is mapped with at least `perms`."""
        try:
            return self._resolve(address, Access.WRITE if perms & WRITE else Access.READ)[2] & perms == perms
        except PageFault:
            return False

    def fill(self, address: int, access: Access) -> tuple[int, int]:
        """Answer the processor on a TLB miss: (physical page address, permissions), or raise PageFault.

        A page unwritten since the last snapshot is given out read-only, so that its first write comes
        back here and the old contents are kept.
        """
        if address >> PAGE_SHIFT == self.awaited_page:
            self.page_arrived = True
        if self.io_pages and (page := self.io_pages.get(address >> PAGE_SHIFT)) is not None:
            if access is Access.FETCH or self.user_mode:
                raise PageFault(address, access, present=True)
            return page, READ | WRITE
        arena, offset, perms = self._resolve(address, access)
        if not perms & _NEEDS[access]:
            if access is not Access.WRITE or self.user_mode or self.write_protect():
                raise PageFault(address, access, present=True)
            perms |= WRITE
        kept_out = self.smap or (self.smep and access is Access.FETCH)
        if kept_out and address < _USER_END and not self.user_mode:
            raise PageFault(address, access, present=True)
        index = offset >> PAGE_SHIFT
        frame = arena.paddr + (index << PAGE_SHIFT)
        if self.guarded:
            perms = self._held_back(frame, address, access, perms)
        if perms & EXEC:  # also of a page that is read now: the processor will not ask again to execute it
            arena.executed[index] = 1
        if not arena.fresh[index]:
            if access is Access.WRITE:
                self._keep(arena, index, index)
            else:
                perms &= ~WRITE
        self._note(address >> PAGE_SHIFT, frame >> PAGE_SHIFT, access, perms)
        return frame, perms

    def _note(self, page: int, frame: int, access: Access, perms: int) -> None:
        """The processor gets to know a page."""
        if access is not Access.WRITE and frame in self._given:
            self.lost += 1
        self._given.add(frame)
        if perms & WRITE:
            self._writable.add(page)
        if page < _USER_END >> PAGE_SHIFT:
            self._given_user.add(page)
            self._elsewhere.add(frame)
        elif page in self.aliases:
            self._elsewhere.add(frame)

    def _held_back(self, page: int, address: int, access: Access, perms: int) -> int:
        """Permissions without those that a debugger holds back."""
        held = self.guarded.get(page, 0)
        if held & (READ, WRITE, EXEC)[access]:
            raise PageFault(address, access, present=True, guarded=True)
        return perms & ~held

    def forget_code(self, arena: Arena, first: int, last: int, piece: range | None = None) -> None:
        """Make the processor forget translated code of the pages `first` to `last`, before they change.

        `write` and `protect` do this by themselves.

        Args:
            arena: Where the pages are.
            first: The first one's number.
            last: The last one's number.
            piece: The offsets of what changes, if that is less.
        """
        index = arena.executed.find(1, first, last + 1)
        if index < 0:
            return
        mode, self.user_mode = self.user_mode, False  # it asks for addresses of the kernel's
        while index >= 0:
            perms = arena.perms[index]
            arena.perms[index] |= EXEC  # it only finds code at addresses that may be executed now
            start, end = index << PAGE_SHIFT, (index + 1) << PAGE_SHIFT
            if piece is not None and perms & EXEC:
                start, end = max(start, piece.start), min(end, piece.stop)
            self.drop_code(arena.base + start, end - start)
            if not perms & EXEC:
                arena.perms[index], arena.executed[index] = perms, 0
                self.flush()  # so that it does not take it for code
            index = arena.executed.find(1, index + 1, last + 1)
        self.user_mode = mode

    def _prepare(self, arena: Arena, offset: int, size: int) -> None:
        """The host is about to write some bytes."""
        first, last = offset >> PAGE_SHIFT, (offset + size - 1) >> PAGE_SHIFT
        if first == last and arena.fresh[first] and not arena.executed[first]:
            return
        self._keep(arena, first, last)
        self.forget_code(arena, first, last, range(offset, offset + size))

    def await_page(self, address: int) -> None:
        """Note in `page_arrived` whether the guest touches this page from now on."""
        self.awaited_page, self.page_arrived = address >> PAGE_SHIFT, False
        if not self.forget_pages([address & PAGE_MASK]):
            self.flush()

    def _keep(self, arena: Arena, first: int, last: int) -> None:
        fresh = arena.fresh
        for index in range(first, last + 1):
            if not fresh[index]:
                if self.keep_page:
                    self.keep_page(arena, index)
                fresh[index] = 1

    def _pieces(self, address: int, size: int, access: Access) -> Iterator[tuple[Arena, int, int]]:
        """Cut a virtual range into (arena, offset, length) pieces, page by page where it must be."""
        while size > 0:
            arena, offset, _ = self._resolve(address, access)
            length = min(size, PAGE_SIZE - (address & (PAGE_SIZE - 1)))
            yield arena, offset, length
            address += length
            size -= length

    def _span(self, address: int, size: int) -> tuple[Arena, int] | None:
        """The common case: the range lies in one window, every page of it mapped."""
        arena = self._windows.get(address >> _WINDOW_SHIFT)
        if arena is None:
            return None
        offset = address - arena.base
        if offset < 0 or offset + size > arena.size:
            return None
        if arena.perms.find(0, offset >> PAGE_SHIFT, (offset + size + PAGE_SIZE - 1) >> PAGE_SHIFT) >= 0:
            return None
        return arena, offset

    # --- access from Python -------------------------------------------------------------------------

    def read(self, address: int, size: int) -> bytes:
        """Read `size` bytes; raises PageFault at the first unmapped page."""
        arena = self._windows.get(address >> _WINDOW_SHIFT)
        if arena is not None and (address & _OFFSET) + size <= PAGE_SIZE:
            offset = address - arena.base
            if 0 <= offset < arena.size and arena.perms[offset >> PAGE_SHIFT]:
                return arena.raw[offset : offset + size]
        span = self._span(address, size)
        if span:
            arena, offset = span
            return bytes(arena.view[offset : offset + size])
        if 0 < size <= PAGE_SIZE - (address & _OFFSET):  # a user's buffer, mostly
            arena, offset, _ = self._resolve(address, Access.READ)
            return bytes(arena.view[offset : offset + size])
        return b"".join(bytes(a.view[o : o + n]) for a, o, n in self._pieces(address, size, Access.READ))

    def write(self, address: int, data: bytes | bytearray | memoryview) -> None:
        """Write bytes; raises PageFault, and then nothing is written."""
        size = len(data)
        arena = self._windows.get(address >> _WINDOW_SHIFT)
        if arena is not None and (address & _OFFSET) + size <= PAGE_SIZE:
            offset = address - arena.base
            if 0 <= offset < arena.size:
                index = offset >> PAGE_SHIFT
                if arena.perms[index] and arena.fresh[index] and not arena.executed[index]:
                    arena.raw[offset : offset + size] = data
                    return
        if not size:
            return
        span = self._span(address, size)
        if span:
            arena, offset = span
            self._prepare(arena, offset, size)
            arena.view[offset : offset + size] = data
            return
        if size <= PAGE_SIZE - (address & _OFFSET):  # a user's buffer, mostly
            arena, offset, _ = self._resolve(address, Access.WRITE)
            self._prepare(arena, offset, size)
            arena.view[offset : offset + size] = data
            return
        done = 0
        for arena, offset, length in list(self._pieces(address, size, Access.WRITE)):
            self._prepare(arena, offset, length)
            arena.view[offset : offset + length] = data[done : done + length]
            done += length

    def put_page(self, arena: Arena, index: int, contents: bytes) -> None:
        """Write a whole page of an arena, mapped or not."""
        self._keep(arena, index, index)
        arena.view[index << PAGE_SHIFT : (index + 1) << PAGE_SHIFT] = contents

    def writable(self, address: int, size: int) -> memoryview:
        """A writable view of a range inside one window, for work in place (relocation)."""
        span = self._span(address, size)
        if span is None:
            raise PageFault(address, Access.WRITE)
        arena, offset = span
        if size:
            self._prepare(arena, offset, size)
        return arena.view[offset : offset + size]

    def clear(self, address: int, size: int) -> None:
        """Write zeros."""
        self.write(address, bytes(size))

    def read_u8(self, address: int) -> int:
        """Read one byte."""
        return self.read(address, 1)[0]

    def read_u16(self, address: int) -> int:
        """Read an unsigned 16-bit value."""
        return int(_U16.unpack(self.read(address, 2))[0])

    def read_u32(self, address: int) -> int:
        """Read an unsigned 32-bit value."""
        span = self._span(address, 4)
        return int(
            _U32.unpack_from(span[0].view, span[1])[0] if span else _U32.unpack(self.read(address, 4))[0]
        )

    def read_u64(self, address: int) -> int:
        """Read an unsigned 64-bit value."""
        arena = self._windows.get(address >> _WINDOW_SHIFT)
        if arena is not None and address & _OFFSET <= _LAST_U64:
            offset = address - arena.base
            if 0 <= offset < arena.size and arena.perms[offset >> PAGE_SHIFT]:
                return int(_U64.unpack_from(arena.view, offset)[0])
        return int(_U64.unpack(self.read(address, 8))[0])

    def write_u8(self, address: int, value: int) -> None:
        """Write one byte."""
        self.write(address, bytes((value & 0xFF,)))

    def write_u16(self, address: int, value: int) -> None:
        """Write a 16-bit value (taken modulo 2^16)."""
        self.write(address, _U16.pack(value & 0xFFFF))

    def write_u32(self, address: int, value: int) -> None:
        """Write a 32-bit value (taken modulo 2^32)."""
        self.write(address, _U32.pack(value & 0xFFFFFFFF))

    def write_u64(self, address: int, value: int) -> None:
        """Write a 64-bit value (taken modulo 2^64)."""
        arena = self._windows.get(address >> _WINDOW_SHIFT)
        if arena is not None and address & _OFFSET <= _LAST_U64:
            offset = address - arena.base
            if 0 <= offset < arena.size:
                index = offset >> PAGE_SHIFT
                if arena.perms[index] and arena.fresh[index] and not arena.executed[index]:
                    _U64.pack_into(arena.view, offset, value & _MASK64)
                    return
        self.write(address, _U64.pack(value & _MASK64))

    def read_cstring(self, address: int, limit: int = PAGE_SIZE) -> bytes:
        """Read up to, and without, the NUL; at most `limit` bytes."""
        arena = self._windows.get(address >> _WINDOW_SHIFT)
        if arena is not None and 0 <= (offset := address - arena.base) < arena.size:
            end = min((offset | _OFFSET) + 1, offset + limit)  # most end where they begin: in that page
            if arena.perms[offset >> PAGE_SHIFT] and (end := arena.raw.find(b"\0", offset, end)) >= 0:
                return arena.raw[offset:end]
        text = bytearray()
        while len(text) < limit:
            length = min(limit - len(text), PAGE_SIZE - (address & (PAGE_SIZE - 1)))
            piece = self.read(address, length)
            end = piece.find(0)
            if end >= 0:
                return bytes(text + piece[:end])
            text += piece
            address += length
        return bytes(text)

    def read_text(self, address: int, limit: int = PAGE_SIZE) -> str:
        """A C string as text that encodes back to the same bytes."""
        return self.read_cstring(address, limit).decode("utf-8", "surrogateescape")
