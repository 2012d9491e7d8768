"""Where a read_iter or write_iter finds the bytes: pieces of user or kernel memory (lib/iov_iter.c)."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from kmod_emu.kernel.exports import Fidelity, export
from kmod_emu.kernel.pages import page_to_virt
from kmod_emu.machine.memory import PAGE_SIZE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from kmod_emu.kernel.kernel import KernelCore

ITER_DEST, ITER_SOURCE = 0, 1  # `data_source`: a read fills the pieces, a write takes from them
_IOVEC, _BVEC = struct.Struct("<QQ"), struct.Struct("<QII")
IOVEC_SIZE = _IOVEC.size


class IovIter:
    """A `struct iov_iter`.

    Its kinds are numbered anew now and then. The members tell which numbers hold: `type` combines bits;
    `user_backed` says what is user memory, and before the kind `pipe` went that numbering had one more.
    """

    def __init__(self, kernel: KernelCore, address: int) -> None:
        self._kernel, self.view = kernel, kernel.view("iov_iter", address)
        view = self.view
        if view.has("type"):
            names = {4: "iovec", 8: "kvec", 16: "bvec", 64: "discard"}
        elif view.has("pipe"):
            names = dict(enumerate(("iovec", "kvec", "bvec", "pipe", "xarray", "discard", "ubuf")))
        elif view.has("user_backed"):
            names = dict(enumerate(("iovec", "kvec", "bvec", "xarray", "discard", "ubuf")))
        else:
            names = dict(enumerate(("ubuf", "iovec", "bvec", "kvec", "folioq", "xarray", "discard")))
        self._names, self._vector = names, "__iov" if view.has("__iov") else "iov"

    @property
    def kind(self) -> str:
        """`ubuf` (one piece of user memory), `iovec`, `kvec`, `bvec`, `discard`, ..."""
        number = self.view.get("type") & ~1 if self.view.has("type") else self.view.iter_type
        return self._names.get(number, str(number))

    @property
    def count(self) -> int:
        """How many bytes are left."""
        return self.view.get("count")

    @property
    def at_user(self) -> bool:
        """Whether the pieces are user memory."""
        return self.kind in ("ubuf", "iovec")

    def init(self, kind: str, source: int, vector: int, segments: int, count: int) -> None:
        """Begin with `vector`: the address of an array of segments, or of the one piece of a `ubuf`."""
        view = self.view
        self._kernel.memory.clear(view.address, view.layout.size)
        number = next(n for n, name in self._names.items() if name == kind)
        if view.has("type"):
            view.set("type", number | source)
        else:
            view.iter_type, view.data_source = number, source
            if view.has("user_backed"):
                view.user_backed = kind in ("ubuf", "iovec")
        view.set(self._vector, vector)
        view.set("count", count)
        view.nr_segs = segments

    def init_user(self, source: int, pieces: list[tuple[int, int]], vector: int) -> None:
        """Over the user's buffers; `vector` is where their `struct iovec` may lie."""
        total = sum(length for _, length in pieces)
        if len(pieces) == 1 and "ubuf" in self._names.values():
            self.init("ubuf", source, pieces[0][0], 0 if self.view.has("pipe") else 1, total)
            return
        self._kernel.memory.write(vector, b"".join(_IOVEC.pack(*piece) for piece in pieces))
        self.init("iovec", source, vector, len(pieces), total)

    def _segments(self) -> Iterator[tuple[int, int, int]]:
        """What is left: address, length, and the entry of the vector it is from."""
        view, memory, left = self.view, self._kernel.memory, self.count
        skip, kind, entry = view.iov_offset, self.kind, view.get(self._vector)
        if kind == "ubuf":
            yield entry + skip, left, entry
        elif kind == "discard":
            yield 0, left, entry
        elif kind not in ("iovec", "kvec", "bvec"):
            self._kernel.findings.note("unimplemented", f"an iov_iter of the kind {kind}")
        else:
            for _ in range(view.nr_segs):
                if kind == "bvec":
                    page, length, offset = _BVEC.unpack(memory.read(entry, _BVEC.size))
                    base = page_to_virt(page) + offset
                else:
                    base, length = _IOVEC.unpack(memory.read(entry, _IOVEC.size))
                size = min(length - skip, left)
                if size > 0:
                    yield base + skip, size, entry
                left, skip, entry = left - size, 0, entry + _IOVEC.size

    def walk(self, size: int, step: Callable[[int, int, int], int]) -> int:
        """Call `step(address, length, done so far)` piece by piece until one falls short; then move on.

        Returns:
            How many bytes the steps handled, at most `size`.
        """
        done = 0
        for address, length, _ in self._segments():
            wanted = min(length, size - done)
            handled = wanted if self.kind == "discard" else step(address, wanted, done)
            done += handled
            if handled < wanted or done == size:
                break
        self.advance(done)
        return done

    def advance(self, size: int) -> None:
        """Leave bytes behind."""
        view = self.view
        size = min(size, self.count)
        if self.kind in ("iovec", "kvec", "bvec"):
            first = view.get(self._vector)
            place, offset = first, view.iov_offset + size
            while view.nr_segs > (place - first) // IOVEC_SIZE and offset >= (length := self._length(place)):
                place, offset = place + IOVEC_SIZE, offset - length
            view.set(self._vector, place)
            view.nr_segs -= (place - first) // IOVEC_SIZE
            view.iov_offset = offset
        else:
            view.iov_offset += size
        view.set("count", self.count - size)

    def revert(self, size: int) -> None:
        """Take back the last bytes."""
        view = self.view
        view.set("count", self.count + size)
        if self.kind not in ("iovec", "kvec", "bvec"):
            view.iov_offset -= size
            return
        place, segments = view.get(self._vector), view.nr_segs
        while size > view.iov_offset:
            size -= view.iov_offset
            place, segments = place - IOVEC_SIZE, segments + 1
            view.iov_offset = self._length(place)
        view.iov_offset -= size
        view.set(self._vector, place)
        view.nr_segs = segments

    def _length(self, entry: int) -> int:
        if self.kind == "bvec":
            return self._kernel.memory.read_u32(entry + 8)
        return self._kernel.memory.read_u64(entry + 8)

    def put(self, data: bytes) -> int:
        """Copy to where the iterator is; how many bytes arrived."""

        def step(address: int, length: int, done: int) -> int:
            piece = data[done : done + length]
            if self.at_user:
                return self._kernel.user.write(address, piece)
            self._kernel.memory.write(address, piece)
            return length

        return self.walk(len(data), step)

    def take(self, size: int) -> bytes:
        """Copy from where the iterator is; fewer bytes where user memory ends."""
        pieces = []

        def step(address: int, length: int, done: int) -> int:
            read = self._kernel.user.read if self.at_user else self._kernel.memory.read
            pieces.append(bytes(read(address, length)))
            return len(pieces[-1])

        self.walk(size, step)
        return b"".join(pieces)

    def first_segment(self) -> int:
        """Length of the first piece that is left."""
        return next((length for _, length, _ in self._segments()), 0)


@export("size_t _copy_to_iter(const void *addr, size_t bytes, struct iov_iter *i)")
def _copy_to_iter(kernel: KernelCore, addr: int, bytes: int, i: int) -> int:
    """Copy out; how many bytes arrived (lib/iov_iter.c)."""
    it = IovIter(kernel, i)
    return it.put(kernel.memory.read(addr, min(bytes, it.count)))


@export("size_t _copy_from_iter(void *addr, size_t bytes, struct iov_iter *i)")
def _copy_from_iter(kernel: KernelCore, addr: int, bytes: int, i: int) -> int:
    """Copy in; how many bytes came (lib/iov_iter.c)."""
    it = IovIter(kernel, i)
    data = it.take(min(bytes, it.count))
    kernel.memory.write(addr, data)
    return len(data)


@export("size_t _copy_from_iter_nocache(void *addr, size_t bytes, struct iov_iter *i)")
def _copy_from_iter_nocache(kernel: KernelCore, addr: int, bytes: int, i: int) -> int:
    """The same (lib/iov_iter.c)."""
    return _copy_from_iter(kernel, addr, bytes, i)


@export("bool _copy_from_iter_full(void *addr, size_t bytes, struct iov_iter *i)")
def _copy_from_iter_full(kernel: KernelCore, addr: int, bytes: int, i: int) -> int:
    """All or nothing; an inlined function since (lib/iov_iter.c)."""
    it = IovIter(kernel, i)
    if it.count < bytes:
        return 0
    copied = _copy_from_iter(kernel, addr, bytes, i)
    if copied < bytes:
        it.revert(copied)
    return int(copied == bytes)


@export("size_t copy_page_to_iter(struct page *page, size_t offset, size_t bytes, struct iov_iter *i)")
def copy_page_to_iter(kernel: KernelCore, page: int, offset: int, bytes: int, i: int) -> int:
    """Copy out of a page (lib/iov_iter.c)."""
    return _copy_to_iter(kernel, page_to_virt(page) + offset, bytes, i)


@export("size_t copy_page_from_iter(struct page *page, size_t offset, size_t bytes, struct iov_iter *i)")
def copy_page_from_iter(kernel: KernelCore, page: int, offset: int, bytes: int, i: int) -> int:
    """Copy into a page (lib/iov_iter.c)."""
    return _copy_from_iter(kernel, page_to_virt(page) + offset, bytes, i)


@export("size_t iov_iter_zero(size_t bytes, struct iov_iter *i)")
def iov_iter_zero(kernel: KernelCore, bytes: int, i: int) -> int:
    """Copy zeros out (lib/iov_iter.c)."""
    it, done = IovIter(kernel, i), 0
    while done < bytes and it.count:
        size = min(bytes - done, it.count, PAGE_SIZE)
        copied = it.put(b"\0" * size)
        done += copied
        if copied < size:
            break
    return done


@export("void iov_iter_advance(struct iov_iter *i, size_t size)")
def iov_iter_advance(kernel: KernelCore, i: int, size: int) -> None:
    """Leave bytes behind (lib/iov_iter.c)."""
    IovIter(kernel, i).advance(size)


@export("void iov_iter_revert(struct iov_iter *i, size_t unroll)")
def iov_iter_revert(kernel: KernelCore, i: int, unroll: int) -> None:
    """Take back the last bytes (lib/iov_iter.c)."""
    IovIter(kernel, i).revert(unroll)


@export("size_t iov_iter_single_seg_count(const struct iov_iter *i)")
def iov_iter_single_seg_count(kernel: KernelCore, i: int) -> int:
    """Length of the first piece (lib/iov_iter.c)."""
    return IovIter(kernel, i).first_segment()


@export(
    "void iov_iter_init(struct iov_iter *i, unsigned int direction, const struct iovec *iov,"
    " unsigned long nr_segs, size_t count)"
)
def iov_iter_init(kernel: KernelCore, i: int, direction: int, iov: int, nr_segs: int, count: int) -> None:
    """Over pieces of user memory (lib/iov_iter.c)."""
    IovIter(kernel, i).init("iovec", direction & 1, iov, nr_segs, count)


@export(
    "void iov_iter_kvec(struct iov_iter *i, unsigned int direction, const struct kvec *kvec,"
    " unsigned long nr_segs, size_t count)"
)
def iov_iter_kvec(kernel: KernelCore, i: int, direction: int, kvec: int, nr_segs: int, count: int) -> None:
    """Over pieces of kernel memory (lib/iov_iter.c)."""
    IovIter(kernel, i).init("kvec", direction & 1, kvec, nr_segs, count)


@export(
    "void iov_iter_bvec(struct iov_iter *i, unsigned int direction, const struct bio_vec *bvec,"
    " unsigned long nr_segs, size_t count)"
)
def iov_iter_bvec(kernel: KernelCore, i: int, direction: int, bvec: int, nr_segs: int, count: int) -> None:
    """Over pieces of pages (lib/iov_iter.c)."""
    IovIter(kernel, i).init("bvec", direction & 1, bvec, nr_segs, count)


@export("void iov_iter_discard(struct iov_iter *i, unsigned int direction, size_t count)")
def iov_iter_discard(kernel: KernelCore, i: int, direction: int, count: int) -> None:
    """What is copied there goes nowhere (lib/iov_iter.c)."""
    IovIter(kernel, i).init("discard", direction & 1, 0, 0, count)


@export("size_t fault_in_iov_iter_readable(const struct iov_iter *i, size_t bytes)", Fidelity.APPROXIMATE)
def fault_in_iov_iter_readable(kernel: KernelCore, i: int, bytes: int) -> int:
    """How many of the first bytes are not there; copies bring pages in anyway (lib/iov_iter.c)."""
    it = IovIter(kernel, i)
    if not it.at_user:
        return 0
    wanted = min(bytes, it.count)
    found = len(it.take(wanted))
    it.revert(found)
    return wanted - found
