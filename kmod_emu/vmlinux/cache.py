"""Booted machines in the user's cache directory: the second start of a kernel maps what the first one made.

An entry is a folder: `memory`, a sparse file with all arenas behind each other, which is mapped privately, so
that machines share what they do not write; `symbols`; `profile`, unless it is a shipped one; `tables`, the
state of the subsystems, the large ones among them in `columns`. Its name is made of the kernel's bytes and of
the code that booted it. Few are kept.
"""

from __future__ import annotations

import hashlib
import json
import mmap
import os
import shutil
import tempfile
import time
from array import array
from contextlib import contextmanager, suppress
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kmod_emu import atomic, home
from kmod_emu.kernel.plain import to_json
from kmod_emu.machine.memory import PAGE_SIZE
from kmod_emu.vmlinux.symbols import ImageSymbols

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from kmod_emu.machine.memory import Arena, Memory

KEPT = 4  # entries; the one that was used longest ago goes
_CHUNK = 64 * PAGE_SIZE
_NUMBER, _MANY = 8, 1000  # bytes of a number in a column; entries of a table that is worth columns
_DIGESTS_FILE, _DIGESTS, _ROW = ".digests", 16, 5  # what is known of files, of so many, in rows of so much
_SETTLED_NS = 2_000_000_000
_BOOTS_NOTHING = {"__pycache__", "classic", "cli", "debug", "kbuild", "kmod", "labs", "net", "observe",
                  "samples", "sanitize", "sweep"}  # fmt: skip


def directory() -> Path:
    """Where entries are."""
    return home.directory("CACHE") / "kernels"


def digest(image: bytes) -> str:
    """What tells one kernel from another."""
    return hashlib.blake2b(image, digest_size=16).hexdigest()


def digest_of(path: str) -> str:
    """That of a file, which is read only when it is not the one that was read last time.

    Raises:
        OSError: It cannot be read.
    """
    status = os.stat(path)
    now = [status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns]
    known = _digests()
    row = known.pop(os.path.realpath(path), None)
    if row is None or row[1:] != now:
        row = [digest(Path(path).read_bytes()), *now]
        if time.time_ns() - status.st_ctime_ns < _SETTLED_NS:  # it may change again within the same tick
            return str(row[0])
        kept = dict([*known.items(), (os.path.realpath(path), row)][-_DIGESTS:])
        with suppress(OSError):
            directory().mkdir(parents=True, exist_ok=True)
            atomic.write(directory() / _DIGESTS_FILE, json.dumps(kept).encode())
    return str(row[0])


def knows(path: str) -> bool:
    """Whether the kernel in a file may be in the cache: it is the file that was read last time."""
    status = os.stat(path)
    now = [status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns]
    return _digests().get(os.path.realpath(path), [""])[1:] == now


def _digests() -> dict[str, list[Any]]:
    try:
        known = json.loads((directory() / _DIGESTS_FILE).read_bytes())
    except (OSError, ValueError):
        return {}
    return {path: row for path, row in known.items() if len(row) == _ROW} if isinstance(known, dict) else {}


def key(image: str, skip: Collection[str] = ()) -> str:
    """The name of the entry of a kernel with some digest, booted without some initcalls."""
    name = hashlib.blake2b(" ".join((image, *sorted(skip))).encode(), digest_size=16)
    for root, folders, files in os.walk(Path(__file__).parent.parent):
        folders[:] = sorted(set(folders) - _BOOTS_NOTHING)
        for file in sorted(files):
            status = os.stat(os.path.join(root, file))
            name.update(f"{file} {status.st_size} {status.st_mtime_ns}\n".encode())
    return name.hexdigest()


class Columns:
    """A large table of numbers: all keys, then all values; it is read when it is asked for.

    Args:
        file: Where it is.
        place: Offset of its first byte.
        count: How many entries it has.
    """

    def __init__(self, file: Path, place: int, count: int) -> None:
        self._file, self._place, self._count = file, place, count

    def __iter__(self) -> Iterator[tuple[int, int]]:
        with open(self._file, "rb") as file:
            file.seek(self._place)
            numbers = array("Q", file.read(_NUMBER * 2 * self._count))
        return zip(numbers[: self._count], numbers[self._count :], strict=True)


class _Writer:
    """What json.dumps() is to write; large tables go into columns instead."""

    def __init__(self) -> None:
        self.columns = array("Q")

    def plain(self, value: object) -> Any:
        """For `default`."""
        found = to_json(value)
        if isinstance(value, set) or len(found) < _MANY:
            return found
        place = _NUMBER * len(self.columns)
        for column in zip(*found, strict=True):
            self.columns.extend(column)
        return {"columns": [place, len(found)]}


class Entry:
    """A booted machine.

    Args:
        folder: Its folder, which is there.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        contents = (folder / "tables").read_bytes()
        self.facts: dict[str, Any] = json.loads(contents, object_hook=self._whole)
        for file, size in self.facts["sizes"].items():
            if os.stat(folder / file).st_size != size:
                raise ValueError(f"{folder / file} is cut off")

    def _whole(self, part: dict[str, Any]) -> Any:
        """A part of the tables, in the place of which there may be where it is."""
        return Columns(self.folder / "columns", *part["columns"]) if part.keys() == {"columns"} else part

    def symbols(self) -> ImageSymbols:
        """The kernel's symbols."""
        with open(self.folder / "symbols", "rb") as file:
            return ImageSymbols(memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)))

    def profile(self) -> bytes | None:
        """The profile that was made of the kernel, None if a shipped one serves."""
        file = self.folder / "profile"
        return file.read_bytes() if file.exists() else None

    @contextmanager
    def mapped(self, memory: Memory) -> Iterator[None]:
        """Meanwhile arenas that a machine gets begin with what they held."""
        with open(self.folder / "memory", "rb") as file, memory.begin_with(file):
            yield

    def protect(self, memory: Memory) -> None:
        """Give the arenas' pages the permissions that they had."""
        for arena, perms in zip(memory.arenas, self.facts["perms"], strict=True):
            arena.perms[:] = _expand(perms)


def find(name: str) -> Entry | None:
    """The entry of a name, None where there is none that can be read."""
    folder = directory() / name
    try:
        entry = Entry(folder)
        os.utime(folder)
    except (OSError, ValueError, LookupError):
        return None
    return entry


def store(
    name: str,
    memory: Memory,
    symbols: ImageSymbols,
    profile: bytes | None,
    facts: dict[str, Any],
) -> None:
    """Keep a machine; where there is no room or no right, it is not kept."""
    facts = facts | {"perms": [_compress(bytes(arena.perms)) for arena in memory.arenas]}
    place = directory()
    try:
        place.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=".new-", dir=place))
    except OSError:
        return
    writer = _Writer()
    try:
        with open(folder / "memory", "wb") as file:
            for arena in memory.arenas:
                _write(file.fileno(), arena)
            file.truncate(sum(arena.size for arena in memory.arenas))
        (folder / "symbols").write_bytes(symbols.packed)
        if profile is not None:
            (folder / "profile").write_bytes(profile)
        tables = json.dumps(facts, separators=(",", ":"), default=writer.plain)
        (folder / "columns").write_bytes(writer.columns.tobytes())
        sizes = {file.name: file.stat().st_size for file in folder.iterdir()}
        (folder / "tables").write_text(f'{{"sizes":{json.dumps(sizes)},{tables[1:]}')
        folder.chmod(0o755)
        if find(name) is None:  # what is there is damaged
            shutil.rmtree(place / name, ignore_errors=True)
        os.rename(folder, place / name)
    except OSError:  # also where somebody else was faster
        shutil.rmtree(folder, ignore_errors=True)
    prune()


def prune(keep: int = KEPT) -> None:
    """Remove all entries but the latest."""
    home.remove_leftovers(directory())
    folders = sorted(directory().glob("[!.]*"), key=lambda folder: folder.stat().st_mtime, reverse=True)
    for folder in folders[keep:]:
        shutil.rmtree(folder, ignore_errors=True)


def _write(file: int, arena: Arena) -> None:
    """The pages of an arena that hold something."""
    zeros = bytes(_CHUNK)
    for start in range(0, arena.size, _CHUNK):
        if any(arena.perms[start // PAGE_SIZE : (start + _CHUNK) // PAGE_SIZE]):
            chunk = arena.raw[start : start + _CHUNK]  # bytes: views are compared one number at a time
            if chunk != zeros[: len(chunk)]:
                os.pwrite(file, chunk, arena.paddr + start)


def _compress(perms: bytes) -> list[list[int]]:
    """Runs of equal bytes: [how many, which]."""
    return [[sum(1 for _ in same), value] for value, same in groupby(perms)]


def _expand(runs: list[list[int]]) -> bytes:
    return b"".join(bytes([value]) * count for count, value in runs)
