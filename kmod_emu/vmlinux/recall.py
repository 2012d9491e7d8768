"""Answers read from guest memory, which hold as long as what was read there is the same."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from kmod_emu.kernel.layout import MODULES_VADDR, PAGE_OFFSET, START_KERNEL_MAP
from kmod_emu.machine.memory import PAGE_SHIFT, PAGE_SIZE

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from kmod_emu.machine.history import Moment
    from kmod_emu.vmlinux.kernel import VmlinuxKernel

_T = TypeVar("_T")
_PAIR, _WORD = struct.Struct("<QQ"), struct.Struct("<Q")
_LONGEST = 4096  # what is read at once, so near to the end of memory
_REMEMBERED = 3  # answers to one question: of the machine as it booted, with what a module needs, with it
_Page = tuple[int, int]  # (arena's number, page number)


class Reader:
    """Reads of kernel memory, many of them small; it notes them while somebody wants to know."""

    def __init__(self, kernel: VmlinuxKernel) -> None:
        self.kernel, self._memory = kernel, kernel.memory
        arena = kernel.memory.arena_of(PAGE_OFFSET)
        self._raw, self._base, self._end = arena.raw, arena.base, arena.end - _LONGEST
        self._texts: dict[int, str] = {}  # of the kernel's own constants
        self.noted: list[tuple[int, int]] | None = None  # address and size of what was read
        self.tested: list[tuple[int, bool]] = []  # and words of which only that mattered

    def pair(self, address: int) -> tuple[int, int]:
        """Two numbers."""
        if self.noted is not None:
            self.noted.append((address, _PAIR.size))
        if self._base <= address < self._end:
            return _PAIR.unpack_from(self._raw, address - self._base)
        return _PAIR.unpack(self._memory.read(address, _PAIR.size))

    def read_u64(self, address: int) -> int:
        """A number."""
        if self.noted is not None:
            self.noted.append((address, _WORD.size))
        return self._word(address)

    def _word(self, address: int) -> int:
        if self._base <= address < self._end:
            return int(_WORD.unpack_from(self._raw, address - self._base)[0])
        return self._memory.read_u64(address)

    def is_set(self, address: int) -> bool:
        """Whether a word is not zero."""
        answer = self._word(address) != 0
        if self.noted is not None:
            self.tested.append((address, answer))
        return answer

    def number(self, address: int, size: int) -> int:
        """A number of some bytes."""
        if self.noted is not None:
            self.noted.append((address, size))
        return int.from_bytes(self._memory.read(address, size), "little")

    def text(self, address: int) -> str:
        """A text."""
        if self._base <= address < self._end:
            start = address - self._base
            raw = self._raw[start : self._raw.find(b"\0", start)]
        else:
            text = self._texts.get(address)
            if text is not None:
                return text
            raw = self._memory.read_cstring(address)
        text = raw.decode("utf-8", "backslashreplace")
        if START_KERNEL_MAP <= address < MODULES_VADDR:
            self._texts[address] = text
        elif self.noted is not None:
            self.noted.append((address, len(raw) + 1))
        return text


class _Answer(NamedTuple):
    """What was found, and why.

    Attributes:
        pages: Of each page that was read, a number with ones where, and what was there.
        tested: Addresses in each page at which it only mattered whether there was something.
        changing: Those of these pages that had been written since boot.
    """

    value: Any
    pages: dict[_Page, tuple[int, int]]
    tested: dict[_Page, list[tuple[int, bool]]]
    changing: set[_Page]


class Recall:
    """Gives answers again that were found before, at moments that were kept.

    What was found in between is not remembered: it is asked for once.

    Args:
        reader: What they are read with.
    """

    def __init__(self, reader: Reader) -> None:
        self._reader, self._kernel = reader, reader.kernel
        self._answers: dict[str, list[_Answer]] = {}  # found at moments
        self._moment: Moment[_Page, bytes] | None = None  # the one that the next were right at
        self._right: dict[str, _Answer] = {}
        self._since: Collection[_Page] = ()
        self._written: set[_Page] | None = None

    def begin(self) -> None:
        """Time has passed."""
        snapshots = self._kernel.snapshots
        self._since, self._written = snapshots.written_since_latest(), None
        if self._moment is not snapshots.latest:
            self._moment, self._right = snapshots.latest, {}

    def __call__(self, question: str, find: Callable[[], _T]) -> _T:
        """The answer to a question, which `find` finds by what it reads."""
        right = self._right.get(question)
        if right is not None and self._holds(right, right.pages.keys() & self._since, self._since):
            return right.value  # type: ignore[no-any-return]  # what `find` gave
        if self._since:
            return find()
        known = self._answers.setdefault(question, [])
        if self._written is None:
            self._written = self._kernel.snapshots.written_since_root()
        for place, answer in enumerate(known):
            changed = self._written | answer.changing
            if self._holds(answer, answer.pages.keys() & changed, changed):
                known.insert(0, known.pop(place))
                break
        else:
            self._reader.noted, self._reader.tested = [], []
            try:
                known.insert(0, self._answer(find(), self._written))
            finally:
                self._reader.noted = None
            del known[_REMEMBERED:]
        self._right[question] = known[0]
        return known[0].value  # type: ignore[no-any-return]  # as above

    def _answer(self, value: object, written: set[_Page]) -> _Answer:
        marks: dict[_Page, bytearray] = {}
        for address, size in self._reader.noted or ():
            while size > 0:
                page, offset = self._place(address)
                length = min(size, PAGE_SIZE - offset)
                if page not in marks:
                    marks[page] = bytearray(PAGE_SIZE)
                marks[page][offset : offset + length] = b"\xff" * length
                address, size = address + length, size - length
        pages = {}
        for page, marked in marks.items():
            mask = int.from_bytes(marked, "little")
            pages[page] = mask, self._contents(page) & mask
        tested: dict[_Page, list[tuple[int, bool]]] = {}
        for address, answer in self._reader.tested:
            tested.setdefault(self._place(address)[0], []).append((address, answer))
        return _Answer(value, pages, tested, written & (pages.keys() | tested.keys()))

    def _place(self, address: int) -> tuple[_Page, int]:
        memory = self._kernel.memory
        arena = memory.arena_of(address)
        offset = address - arena.base
        return (memory.arenas.index(arena), offset >> PAGE_SHIFT), offset & (PAGE_SIZE - 1)

    def _contents(self, page: _Page) -> int:
        number, index = page
        start = index << PAGE_SHIFT
        return int.from_bytes(self._kernel.memory.arenas[number].view[start : start + PAGE_SIZE], "little")

    def _holds(self, answer: _Answer, pages: Collection[_Page], changed: Collection[_Page]) -> bool:
        """Whether the same would be found now. What nobody has written is what it was."""
        for page in pages:
            mask, value = answer.pages[page]
            if self._contents(page) & mask != value:
                return False
        return all(
            self._reader.is_set(address) is was
            for page, words in answer.tested.items()
            if page in changed
            for address, was in words
        )
