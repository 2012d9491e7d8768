"""Which module of a tree needs which (kmod 30, tools/depmod.c).

`Depmod.search` finds the modules of a tree, `load` reads them and finds their order; `depmod_output` then
writes the files.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from kmod_emu.kmod.depmod_config import BUILT_IN, EXTERNAL, Config
from kmod_emu.kmod.depmod_cycles import Cycles
from kmod_emu.kmod.hash import in_order
from kmod_emu.kmod.mapped import mapped_module
from kmod_emu.kmod.symbols import Symbols
from kmod_emu.uapi import errno

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from kmod_emu.kmod.console import Console
    from kmod_emu.kmod.symbols import Need

# Debian's kmod is built without zlib, so a .ko.gz is no module to it.
EXTENSIONS = (b".ko", b".ko.xz", b".ko.zst")
_MODULE_BUCKETS, SYMBOL_BUCKETS = 512, 2048
_UNSORTED = 1  # behind every line of modules.order
FAKE = (b"__this_module", b"_GLOBAL_OFFSET_TABLE_", b"TOC.")  # the loader makes them up


@dataclass(eq=False)
class Mod:
    """One module.

    Attributes:
        name: As lsmod shows it.
        path: Absolute.
        relpath: As modules.dep has it: below the module directory, else absolute.
        info: The strings of its .modinfo.
        needs: The symbols it wants.
        deps: The modules that have them, each once.
        users: How many modules want this one.
        order: Place in modules.order.
        index: Place in depmod's files.
        rank: Place in the topological order: users before what they use.
    """

    name: bytes
    path: bytes
    relpath: bytes
    order: int = _UNSORTED
    index: int = 0
    rank: int = 0
    users: int = 0
    visited: bool = False
    info: list[bytes] = field(default_factory=list)
    needs: list[Need] = field(default_factory=list)
    deps: list[Mod] = field(default_factory=list)


class Depmod:
    """One run of depmod.

    Args:
        console: Where messages go.
        directory: The module directory, DIR/lib/modules/RELEASE.
        config: What depmod.d says.
        prefix: A character that symbols of some architectures begin with.
        symvers: Compare CRCs.
        unknown: Tell what no module and not the kernel has.
        verbose: Tell each dependency on standard output.
    """

    def __init__(
        self,
        console: Console,
        directory: str,
        config: Config,
        *,
        prefix: bytes = b"",
        symvers: bool = False,
        unknown: bool = False,
        verbose: bool = False,
    ) -> None:
        self.console = console
        self.directory = os.fsencode(directory)
        self.config = config
        self.symbols: dict[bytes, tuple[Mod | None, int]] = {}
        self.modules: list[Mod] = []
        self._by_name: dict[bytes, Mod] = {}
        self.prefix, self._symvers, self.unknown, self._verbose = prefix, symvers, unknown, verbose

    # --- finding modules ----------------------------------------------------------------------------

    def search(self) -> None:
        """Find the modules below the module directory and the external ones.

        Raises:
            OSError: The module directory cannot be read; that has been said.
        """
        self._search_path(self.directory)
        for place in self.config.externals:
            try:
                self._search_path(os.fsencode(place))
            except OSError:
                continue

    def _search_path(self, path: bytes) -> None:
        try:
            entries = os.scandir(path)
        except OSError as error:
            self.console.error(f"could not open directory {os.fsdecode(path)}: {error.strerror}")
            raise
        with entries:
            self._search_dir(entries, path + b"/")

    def _search_dir(self, entries: Iterator[os.DirEntry[bytes]], base: bytes) -> None:
        excluded = {b"build", b"source", *map(os.fsencode, self.config.excludes)}
        for entry in entries:
            if entry.name in excluded:
                continue
            path = base + entry.name
            try:
                mode = entry.stat().st_mode if not _plain(entry) else 0
            except OSError as error:
                self.console.error(f"fstatat({_FD}, {os.fsdecode(entry.name)}): {error.strerror}")
                continue
            if entry.is_dir():
                try:
                    below = os.scandir(path)
                except OSError as error:
                    name = os.fsdecode(entry.name)
                    self.console.error(f"openat({_FD}, {name}, O_RDONLY): {error.strerror}")
                    continue
                with below:
                    self._search_dir(below, path + b"/")
            elif entry.is_file():
                if is_module(entry.name):
                    self._found(path)
            else:
                kind = stat.S_IFMT(mode or entry.stat().st_mode)
                self.console.error(f"unsupported file type {os.fsdecode(path)}: {kind:o}")

    def _found(self, path: bytes) -> None:
        """A module; of one name, the one that ranks higher stays."""
        name = _module_name(path)
        other = self._by_name.get(name)
        if other is None or self._replaces(path, other):
            self._by_name[name] = self._mod(name, path)

    def _mod(self, name: bytes, path: bytes) -> Mod:
        base = self.directory + b"/"
        return Mod(name, path, path.removeprefix(base))

    def add(self, path: str) -> None:
        """Take a module by its path.

        Raises:
            OSError: There is no such file; EEXIST for one that is there already.
        """
        os.stat(path)
        name = _module_name(os.fsencode(path))
        if name in self._by_name:
            raise OSError(errno.EEXIST, errno.strerror(errno.EEXIST))
        self._by_name[name] = self._mod(name, os.fsencode(path))

    def _replaces(self, path: bytes, other: Mod) -> bool:
        """Whether a module goes before the one of that name that is there."""
        new, old = (self._stem(candidate, other.name) for candidate in (path, other.path))
        for override in map(os.fsencode, self.config.overrides):
            if override == new:
                return True
            if override == old:
                return False
        new_rank, old_rank = self._ranks(path, new, other.path, old)
        return new_rank > old_rank

    def _stem(self, path: bytes, name: bytes) -> bytes | None:
        """Path below the module directory without its ending, None for one elsewhere."""
        if not path.startswith(self.directory):
            return None
        start = path.rindex(b"/") + 1
        return path[len(self.directory) + 1 : start + len(name)]

    def _ranks(
        self, new_path: bytes, new: bytes | None, old_path: bytes, old: bytes | None
    ) -> tuple[int, int]:
        """Ranks of two modules; where one entry fits both, kmod sees it fit the new one only."""
        built_in, ranks, at = -1, [-1, -1], 0
        for search in self.config.searches:
            if search == BUILT_IN:
                built_in = at
            elif search == EXTERNAL:
                for place in map(os.fsencode, self.config.externals):
                    for which, path in enumerate((new_path, old_path)):
                        if path.startswith(place + b"/"):
                            ranks[which] = at
                    at += 1
            else:
                place = os.fsencode(search) + b"/"
                for which, stem in enumerate((new, old)):
                    if stem is not None and stem.startswith(place):
                        ranks[which] = at
                        break
            at += 1
        new_rank, old_rank = (built_in if rank < 0 else rank for rank in ranks)
        return new_rank, old_rank

    # --- symbols that the kernel itself has --------------------------------------------------------------

    def kernel_symbol(self, name: bytes, crc: int = 0, *, prefixed: bool = True) -> None:
        """The kernel exports this."""
        self._export(name, crc, None, prefixed)

    def fake_symbols(self) -> None:
        """What every module may use and nobody exports."""
        for name in FAKE:
            self.symbols.setdefault(name, (None, 0))

    def _export(self, name: bytes, crc: int, owner: Mod | None, prefixed: bool = True) -> None:
        if prefixed and self.prefix:
            name = name.removeprefix(self.prefix)
        self.symbols[name] = owner, crc

    # --- reading and ordering ---------------------------------------------------------------------------

    def load(self, progress: Callable[[int, int], object] = lambda done, total: None) -> bool:
        """Read the modules found and put them in order; False if they need each other in a circle."""
        self.modules = [self._by_name[name] for name in in_order(self._by_name, _MODULE_BUCKETS)]
        self._sort()
        for index, mod in enumerate(self.modules):
            mod.index = index
            self._read(mod)
            progress(index + 1, len(self.modules))
        for mod in self.modules:
            self._depend(mod)
        return self._rank()

    def _sort(self) -> None:
        """Order by modules.order, which names modules without what compression added."""
        text = self.read_input("modules.order")
        if text is None:
            return
        lines = text.split(b"\n")
        if lines[-1]:
            path = f"{os.fsdecode(self.directory)}/modules.order"
            self.console.error(f"{path}:{len(lines)} corrupted line misses '\\n'")
            return
        places = {line: at - len(lines) for at, line in enumerate(lines)}
        for mod in self.modules:
            head, _, _ = mod.relpath.rpartition(b"/")
            stem = mod.relpath[: len(head) + bool(head) + len(mod.name)]
            mod.order = places.get(stem + b".ko", _UNSORTED)
        self.modules.sort(key=lambda mod: mod.order)

    def read_input(self, name: str) -> bytes | None:
        """One of the files that the kernel's build left, None if it is not there."""
        directory = os.fsdecode(self.directory)
        try:
            with open(f"{directory}/{name}", "rb") as stream:
                return stream.read()
        except OSError as error:
            self.console.warning(f"could not open {name} at {directory}: {error.strerror}")
            return None

    def _read(self, mod: Mod) -> None:
        try:
            with mapped_module(mod.path) as blob:
                symbols = Symbols(blob)
                mod.info = symbols.modinfo()
                for name, crc in symbols.exports():
                    self._export(name, crc, mod)
                mod.needs = symbols.needs()
        except OSError as error:
            self.console.error(f"failed to load symbols from {os.fsdecode(mod.path)}: {error.strerror}")

    def _depend(self, mod: Mod) -> None:
        """Find who has the symbols that a module needs."""
        deps: dict[Mod, None] = {}
        for name, crc, weak in mod.needs:
            found = self.symbols.get(self._bare(name))
            if found is None:
                if self.unknown and not weak:
                    self._warn(mod, "needs unknown symbol", name)
                continue
            owner, exported_crc = found
            if self._symvers and self.unknown and exported_crc != crc and not weak:
                self._warn(mod, "disagrees about version of symbol", name)
            if owner is None or owner in deps:
                continue
            deps[owner] = None
            owner.users += 1
            if self._verbose:
                path, needed, other = map(os.fsdecode, (mod.path, self._bare(name), owner.path))
                self.console.out(f'{path} needs "{needed}": {other}\n')
        mod.deps = list(deps)

    def _bare(self, name: bytes) -> bytes:
        name = name.removeprefix(b".")  # 64-bit PowerPC's functions
        return name.removeprefix(self.prefix) if self.prefix else name

    def _warn(self, mod: Mod, text: str, symbol: bytes) -> None:
        self.console.warning(f"{os.fsdecode(mod.path)} {text} {os.fsdecode(symbol)}")

    def _rank(self) -> bool:
        """Topological order, users first."""
        waiting = {mod: mod.users for mod in self.modules}
        roots = [mod for mod in self.modules if not mod.users]
        rank = 0
        while roots:
            mod = roots.pop()
            mod.rank, rank = rank, rank + 1
            for dep in mod.deps:
                waiting[dep] -= 1
                if not waiting[dep]:
                    roots.append(dep)
        if rank < len(self.modules):
            Cycles(self.console, [mod for mod in self.modules if waiting[mod]]).report()
            return False
        for mod in self.modules:
            mod.deps.sort(key=lambda dep: dep.rank)
        return True


_FD = 3  # the number of kmod's directory descriptor in messages; deeper ones would be higher


def _plain(entry: os.DirEntry[bytes]) -> bool:
    """Whether the directory itself says what an entry is."""
    return entry.is_file(follow_symlinks=False) or entry.is_dir(follow_symlinks=False)


def is_module(name: bytes) -> bool:
    """Whether a file name is that of a module."""
    return any(name.endswith(ending) and len(name) > len(ending) for ending in EXTENSIONS)


def _module_name(path: bytes) -> bytes:
    return path[path.rfind(b"/") + 1 :].partition(b".")[0].replace(b"-", b"_")
