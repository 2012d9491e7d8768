"""From numbers to pointers: xarray, idr, ida (lib/xarray.c, lib/idr.c).

What is stored is kept here, by the address of the guest's structure; of that, only `xa_head` is kept, not
NULL while something is stored, because inlined xa_empty() and idr_is_empty() read it. Code that walks the
nodes itself (xas_for_each) finds none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kmod_emu.errors import KernelError
from kmod_emu.kernel.exports import Fidelity, export
from kmod_emu.uapi import errno

if TYPE_CHECKING:
    from kmod_emu.kernel.kernel import KernelCore

_HEAD = 8  # offset of xa_head
_SOME_NODE = 2  # what xa_head is while something is stored
_PRESENT = 8  # XA_PRESENT
_MAX_ID, _MASK32 = 0x7FFF_FFFF, 0xFFFF_FFFF
_MASK64 = (1 << 64) - 1
_INTERNAL, _INTERNAL_TAG = 3, 2  # xa_is_internal()
_RETRY_ENTRY = 0x402  # xa_mk_internal(256)
_ZERO_ENTRY = 0x406  # xa_mk_internal(257): reserved, reads as NULL


class IndexedStores:
    """All arrays, by address."""

    def __init__(self, kernel: KernelCore) -> None:
        self._kernel = kernel
        self._stores: dict[int, dict[int, int]] = {}
        self._marks: dict[int, dict[int, int]] = {}  # array -> index -> bits
        self.cells: dict[int, dict[int, int]] = {}  # array -> index -> slot of a radix tree (radix_tree.py)

    def get(self, array: int) -> dict[int, int]:
        """The entries of an array; one whose memory says it is empty is."""
        if not self._kernel.memory.read_u64(array + _HEAD):
            self._stores[array], self._marks[array] = {}, {}
        return self._stores.setdefault(array, {})

    def put(self, array: int, index: int, entry: int) -> int:
        """Store, or erase by storing NULL; returns the old entry; ENOMEM."""
        entries = self.get(array)
        if entry and not self._kernel.usage.may_have(len(entries)):
            raise KernelError(errno.ENOMEM, "there is no memory for another entry")
        old = entries.pop(index, 0)
        if entry:
            entries[index] = entry
        else:
            self._marks.get(array, {}).pop(index, None)
        self._kernel.memory.write_u64(array + _HEAD, _SOME_NODE if entries else 0)
        return old

    def clear(self, array: int) -> None:
        """Erase everything."""
        self._stores.pop(array, None)
        self._marks.pop(array, None)
        self._kernel.memory.write_u64(array + _HEAD, 0)

    def free_index(self, array: int, first: int, last: int) -> int:
        """The lowest index from `first` to `last` where nothing is stored.

        Raises:
            KernelError: ENOSPC, there is none.
        """
        entries = self.get(array)
        for index in range(first, min(last, first + len(entries)) + 1):
            if index not in entries:
                return index
        raise KernelError(errno.ENOSPC, f"no number from {first} to {last} is free")

    def find(self, array: int, first: int, last: int, mark: int = _PRESENT) -> tuple[int, int] | None:
        """Index and entry of the first that is stored, and has the mark."""
        entries, marks = self.get(array), self._marks.get(array, {})
        for index in sorted(entries):
            if first <= index <= last and (mark == _PRESENT or marks.get(index, 0) >> mark & 1):
                return index, entries[index]
        return None

    def mark(self, array: int, index: int, mark: int, on: bool) -> None:
        """Set or clear one of the three marks of an entry."""
        if index in self.get(array):
            marks = self._marks.setdefault(array, {})
            marks[index] = marks.get(index, 0) | 1 << mark if on else marks.get(index, 0) & ~(1 << mark)

    def marked(self, array: int, index: int, mark: int) -> bool:
        """Whether an entry has a mark."""
        return bool(self._marks.get(array, {}).get(index, 0) >> mark & 1)

    def save(self) -> Any:
        """State for a snapshot or file."""
        return [
            [[array, list(entries.items())] for array, entries in group.items()]
            for group in (self._stores, self._marks, self.cells)
        ]

    def load(self, state: Any) -> None:
        """Put saved state back."""
        self._stores, self._marks, self.cells = (
            {array: dict(entries) for array, entries in group} for group in state
        )


def _advanced(kernel: KernelCore, entry: int, line: int, function: str, file: str = "lib/xarray.c") -> int:
    """The error where an entry is one of the array's own, such as XA_RETRY_ENTRY, which is warned of."""
    if entry & _INTERNAL != _INTERNAL_TAG or entry > _RETRY_ENTRY:
        return 0
    kernel.warnings.warn_once(file, line, "", function)
    return -errno.EINVAL


def _xa_error(error: int) -> int:
    """XA_ERROR()."""
    return error << 2 & _MASK64 | _INTERNAL_TAG


def _entry(entry: int) -> int:
    return 0 if entry == _ZERO_ENTRY else entry


# --- xarray -------------------------------------------------------------------------------------------


@export("void *xa_load(struct xarray *xa, unsigned long index)")
def xa_load(kernel: KernelCore, xa: int, index: int) -> int:
    """The entry at an index (lib/xarray.c)."""
    return _entry(kernel.indexed.get(xa).get(index, 0))


def _define_stores() -> None:
    """With and without taking the array's lock."""

    def define(prefix: str) -> None:
        @export(f"void *{prefix}xa_store(struct xarray *xa, unsigned long index, void *entry, gfp_t gfp)")
        def xa_store(kernel: KernelCore, xa: int, index: int, entry: int, gfp: int) -> int:
            """Store an entry, returns the old one (lib/xarray.c)."""
            if error := _advanced(kernel, entry, 1548, "__xa_store+0x10c/0x120"):
                return _xa_error(error)
            return _entry(kernel.indexed.put(xa, index, entry))

        @export(f"void *{prefix}xa_erase(struct xarray *xa, unsigned long index)")
        def xa_erase(kernel: KernelCore, xa: int, index: int) -> int:
            """Erase an entry, returns it (lib/xarray.c)."""
            return _entry(kernel.indexed.put(xa, index, 0))

        @export(f"void {prefix}xa_set_mark(struct xarray *xa, unsigned long index, xa_mark_t mark)")
        def xa_set_mark(kernel: KernelCore, xa: int, index: int, mark: int) -> None:
            """Set a mark (lib/xarray.c)."""
            kernel.indexed.mark(xa, index, mark, on=True)

        @export(f"void {prefix}xa_clear_mark(struct xarray *xa, unsigned long index, xa_mark_t mark)")
        def xa_clear_mark(kernel: KernelCore, xa: int, index: int, mark: int) -> None:
            """Clear a mark (lib/xarray.c)."""
            kernel.indexed.mark(xa, index, mark, on=False)

    define("")
    define("__")


_define_stores()


@export("bool xa_get_mark(struct xarray *xa, unsigned long index, xa_mark_t mark)")
def xa_get_mark(kernel: KernelCore, xa: int, index: int, mark: int) -> bool:
    """Whether an entry has a mark (lib/xarray.c)."""
    return kernel.indexed.marked(xa, index, mark)


@export("int __xa_insert(struct xarray *xa, unsigned long index, void *entry, gfp_t gfp)")
def __xa_insert(kernel: KernelCore, xa: int, index: int, entry: int, gfp: int) -> int:
    """Store where nothing is (lib/xarray.c)."""
    if error := _advanced(kernel, entry, 1651, "__xa_insert+0x101/0x120"):
        return error
    if index in kernel.indexed.get(xa):
        return -errno.EBUSY
    kernel.indexed.put(xa, index, entry or _ZERO_ENTRY)
    return 0


@export("void *__xa_cmpxchg(struct xarray *xa, unsigned long index, void *old, void *entry, gfp_t gfp)")
def __xa_cmpxchg(kernel: KernelCore, xa: int, index: int, old: int, entry: int, gfp: int) -> int:
    """Store if the entry is `old` (lib/xarray.c)."""
    if error := _advanced(kernel, entry, 1614, "__xa_cmpxchg+0x78/0x140"):
        return _xa_error(error)
    current = _entry(kernel.indexed.get(xa).get(index, 0))
    if current == old:
        kernel.indexed.put(xa, index, entry)
    return current


@export("int __xa_alloc(struct xarray *xa, u32 *id, void *entry, u64 limit, gfp_t gfp)")
def __xa_alloc(kernel: KernelCore, xa: int, id: int, entry: int, limit: int, gfp: int) -> int:
    """Store at the lowest free index of a range; `limit` holds its end, then its start (lib/xarray.c)."""
    if error := _advanced(kernel, entry, 1833, "__xa_alloc+0x126/0x150"):
        return error
    try:
        index = kernel.indexed.free_index(xa, limit >> 32, limit & _MASK32)
    except KernelError:
        return -errno.EBUSY
    kernel.indexed.put(xa, index, entry or _ZERO_ENTRY)
    kernel.memory.write_u32(id, index)
    return 0


@export(
    "void *xa_store_range(struct xarray *xa, unsigned long first, unsigned long last, void *entry,"
    " gfp_t gfp)",
    Fidelity.APPROXIMATE,
)
def xa_store_range(kernel: KernelCore, xa: int, first: int, last: int, entry: int, gfp: int) -> int:
    """Store an entry at all of a range; erasing one of them leaves the others (lib/xarray.c)."""
    if entry & _INTERNAL == _INTERNAL_TAG:
        kernel.warnings.warn_once("lib/xarray.c", 1726, "", "xa_store_range+0x295/0x2b0")
        return _xa_error(-errno.EINVAL)
    if last < first:
        return _xa_error(-errno.EINVAL)
    try:
        for index in range(first, last + 1):
            kernel.indexed.put(xa, index, entry)
    except KernelError:
        return _xa_error(-errno.ENOMEM)
    return 0


def _find(kernel: KernelCore, xa: int, indexp: int, first: int, last: int, mark: int) -> int:
    found = kernel.indexed.find(xa, first, last, mark)
    if found is None:
        return 0
    kernel.memory.write_u64(indexp, found[0])
    return _entry(found[1])


@export("void *xa_find(struct xarray *xa, unsigned long *indexp, unsigned long max, xa_mark_t filter)")
def xa_find(kernel: KernelCore, xa: int, indexp: int, max: int, filter: int) -> int:
    """The first entry from an index on (lib/xarray.c)."""
    return _find(kernel, xa, indexp, kernel.memory.read_u64(indexp), max, filter)


@export("void *xa_find_after(struct xarray *xa, unsigned long *indexp, unsigned long max, xa_mark_t filter)")
def xa_find_after(kernel: KernelCore, xa: int, indexp: int, max: int, filter: int) -> int:
    """The first entry behind an index (lib/xarray.c)."""
    return _find(kernel, xa, indexp, kernel.memory.read_u64(indexp) + 1, max, filter)


@export("int __xa_alloc_cyclic(struct xarray *xa, u32 *id, void *entry, u64 limit, u32 *next, gfp_t gfp)")
def __xa_alloc_cyclic(
    kernel: KernelCore, xa: int, id: int, entry: int, limit: int, next: int, gfp: int
) -> int:
    """Store at the next free index of a range; 1 if it began anew (lib/xarray.c)."""
    memory, lowest, highest = kernel.memory, limit >> 32, limit & _MASK32
    start = max(lowest, memory.read_u32(next))
    result = __xa_alloc(kernel, xa, id, entry, start << 32 | highest, gfp)
    if result < 0 and start > lowest:
        start = lowest
        result = int(not __xa_alloc(kernel, xa, id, entry, limit, gfp)) or -errno.EBUSY
    if result >= 0:
        memory.write_u32(next, memory.read_u32(id) + 1)
    return result


@export(
    "unsigned int xa_extract(struct xarray *xa, void **dst, unsigned long start, unsigned long max,"
    " unsigned int n, xa_mark_t filter)"
)
def xa_extract(kernel: KernelCore, xa: int, dst: int, start: int, max: int, n: int, filter: int) -> int:
    """Copy several entries (lib/xarray.c)."""
    found = 0
    while found < n and (hit := kernel.indexed.find(xa, start, max, filter)) is not None:
        start = hit[0] + 1
        kernel.memory.write_u64(dst + 8 * found, _entry(hit[1]))
        found += 1
    return found


@export("void xa_destroy(struct xarray *xa)")
def xa_destroy(kernel: KernelCore, xa: int) -> None:
    """Forget all entries (lib/xarray.c)."""
    kernel.indexed.clear(xa)


# --- idr: an xarray of what is not NULL, from a base on ------------------------------------------------


def _idr_alloc(kernel: KernelCore, idr: int, ptr: int, start: int, end: int) -> int:
    index = kernel.indexed.free_index(idr, start, (end if end > 0 else _MAX_ID + 1) - 1)
    kernel.indexed.put(idr, index, ptr or _ZERO_ENTRY)
    return index


@export("int idr_alloc(struct idr *idr, void *ptr, int start, int end, gfp_t gfp)")
def idr_alloc(kernel: KernelCore, idr: int, ptr: int, start: int, end: int, gfp: int) -> int:
    """Give a pointer the lowest free number (lib/idr.c)."""
    return -errno.EINVAL if start < 0 else _idr_alloc(kernel, idr, ptr, start, end)


@export("int idr_alloc_u32(struct idr *idr, void *ptr, u32 *nextid, unsigned long max, gfp_t gfp)")
def idr_alloc_u32(kernel: KernelCore, idr: int, ptr: int, nextid: int, max: int, gfp: int) -> int:
    """As idr_alloc, from the number at `nextid` on, and there (lib/idr.c)."""
    start = kernel.memory.read_u32(nextid)
    kernel.memory.write_u32(nextid, _idr_alloc(kernel, idr, ptr, start, max + 1))
    return 0


@export("int idr_alloc_cyclic(struct idr *idr, void *ptr, int start, int end, gfp_t gfp)")
def idr_alloc_cyclic(kernel: KernelCore, idr: int, ptr: int, start: int, end: int, gfp: int) -> int:
    """As idr_alloc, going on behind the last number given (lib/idr.c)."""
    place = idr + kernel.profile.offset("idr", "idr_next")
    begin = max(kernel.memory.read_u32(place), start)
    try:
        index = _idr_alloc(kernel, idr, ptr, begin, end)
    except KernelError:
        index = _idr_alloc(kernel, idr, ptr, start, end)
    kernel.memory.write_u32(place, index + 1)
    return index


@export("void *idr_find(const struct idr *idr, unsigned long id)")
def idr_find(kernel: KernelCore, idr: int, id: int) -> int:
    """The pointer of a number (lib/idr.c)."""
    return xa_load(kernel, idr, id)


@export("void *idr_remove(struct idr *idr, unsigned long id)")
def idr_remove(kernel: KernelCore, idr: int, id: int) -> int:
    """Free a number, returns its pointer (lib/idr.c)."""
    return _entry(kernel.indexed.put(idr, id, 0))


@export("void *idr_replace(struct idr *idr, void *ptr, unsigned long id)")
def idr_replace(kernel: KernelCore, idr: int, ptr: int, id: int) -> int:
    """Change the pointer of a number (lib/idr.c)."""
    if id not in kernel.indexed.get(idr):
        return -errno.ENOENT
    return _entry(kernel.indexed.put(idr, id, ptr or _ZERO_ENTRY))


@export("void *idr_get_next(struct idr *idr, int *nextid)")
def idr_get_next(kernel: KernelCore, idr: int, nextid: int) -> int:
    """The first pointer from a number on: idr_for_each_entry() (lib/idr.c)."""
    found = kernel.indexed.find(idr, kernel.memory.read_u32(nextid), _MAX_ID)
    if found is None:
        return 0
    kernel.memory.write_u32(nextid, found[0])
    return _entry(found[1])


@export("int idr_for_each(const struct idr *idr, int (*fn)(int id, void *p, void *data), void *data)")
async def idr_for_each(kernel: KernelCore, idr: int, fn: int, data: int) -> int:
    """Call a function for each pointer until one returns not 0 (lib/idr.c)."""
    for index, entry in sorted(kernel.indexed.get(idr).items()):
        result = await kernel.call_guest_int(fn, index, _entry(entry), data)
        if result:
            return result
    return 0


@export("void idr_destroy(struct idr *idr)")
def idr_destroy(kernel: KernelCore, idr: int) -> None:
    """Forget all pointers (lib/idr.c)."""
    kernel.indexed.clear(idr)


@export("void *idr_get_next_ul(struct idr *idr, unsigned long *nextid)")
def idr_get_next_ul(kernel: KernelCore, idr: int, nextid: int) -> int:
    """The first pointer from a number on (lib/idr.c)."""
    return _find(kernel, idr, nextid, kernel.memory.read_u64(nextid), (1 << 64) - 1, _PRESENT)


# --- ida: numbers without pointers ------------------------------------------------------------------------


@export("int ida_alloc_range(struct ida *ida, unsigned int min, unsigned int max, gfp_t gfp)")
def ida_alloc_range(kernel: KernelCore, ida: int, first: int, last: int, gfp: int) -> int:
    """The lowest free number of a range (lib/idr.c)."""
    if first > _MAX_ID:
        return -errno.ENOSPC
    index = kernel.indexed.free_index(ida, first, min(last, _MAX_ID))
    kernel.indexed.put(ida, index, _ZERO_ENTRY)
    return index


@export("void ida_free(struct ida *ida, unsigned int id)")
def ida_free(kernel: KernelCore, ida: int, id: int) -> None:
    """Free a number; one that is free is a bug of the caller's (lib/idr.c)."""
    if not kernel.indexed.put(ida, id, 0):
        kernel.warnings.warn("lib/idr.c", 525, f"ida_free called for id={id} which is not allocated.")


@export("void ida_destroy(struct ida *ida)")
def ida_destroy(kernel: KernelCore, ida: int) -> None:
    """Free all numbers (lib/idr.c)."""
    kernel.indexed.clear(ida)
