"""The files that depmod writes (kmod 30, tools/depmod.c)."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from kmod_emu.kmod import index
from kmod_emu.kmod.aliases import normalize
from kmod_emu.kmod.depmod_tree import SYMBOL_BUCKETS
from kmod_emu.kmod.hash import in_order

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from kmod_emu.kmod.depmod_tree import Depmod, Mod

_LINE = 4096  # PATH_MAX, kmod's longest line
_DEVICE = re.compile(rb"(char|block)-major-\s*([+-]?\d+)-\s*([+-]?\d+)")
_UINT = 1 << 32


class Output:
    """The contents of the files.

    Args:
        depmod: What is to be told.
        duplicates: Warn of keys that come twice.
    """

    def __init__(self, depmod: Depmod, *, duplicates: bool = False) -> None:
        self._depmod = depmod
        self._console = depmod.console
        self._duplicates = duplicates

    def files(self) -> list[tuple[str, Callable[[], bytes]]]:
        """Name and contents of each file, in kmod's order; contents are made when they are asked for.

        modules.weakdep is kmod 33's, and only written where a module has weak dependencies.
        """
        weak = next(iter(self._info(b"weakdep")), None) is not None
        return [
            ("modules.dep", self.dep),
            ("modules.dep.bin", self.dep_bin),
            ("modules.alias", self.alias),
            ("modules.alias.bin", self.alias_bin),
            ("modules.softdep", self.softdep),
            *([("modules.weakdep", self.weakdep)] if weak else []),
            ("modules.symbols", self.symbols),
            ("modules.symbols.bin", self.symbols_bin),
            ("modules.builtin.bin", self.builtin_bin),
            ("modules.builtin.alias.bin", self.builtin_alias_bin),
            ("modules.devname", self.devname),
        ]

    def dep(self) -> bytes:
        """Each module and all it needs."""
        return b"".join(b" ".join(self._line(mod)) + b"\n" for mod in self._depmod.modules)

    def dep_bin(self) -> bytes:
        """The same, by name."""
        entries = ((mod.name, b" ".join(self._line(mod)), mod.index) for mod in self._depmod.modules)
        return self._index(entries, lambda key, value: f"duplicate module deps:\n{value}")

    def alias(self) -> bytes:
        """The aliases as the modules have them."""
        lines = [b"# Aliases extracted from modules themselves.\n"]
        lines += (b"alias %b %b\n" % (value, mod.name) for mod, value in self._info(b"alias"))
        return b"".join(lines)

    def alias_bin(self) -> bytes:
        """The same for a search."""
        return self._index(
            self._normal_aliases(), lambda key, value: f"duplicate module alias:\n{key} {value}"
        )

    def softdep(self) -> bytes:
        """The soft dependencies that modules have themselves."""
        lines = [b"# Soft dependencies extracted from modules themselves.\n"]
        lines += (b"softdep %b %b\n" % (mod.name, value) for mod, value in self._info(b"softdep"))
        return b"".join(lines)

    def weakdep(self) -> bytes:
        """What modules may ask for once they run: of use to those who pack an initramfs."""
        lines = [b"# Weak dependencies extracted from modules themselves.\n"]
        lines += (b"weakdep %b %b\n" % (mod.name, value) for mod, value in self._info(b"weakdep"))
        return b"".join(lines)

    def symbols(self) -> bytes:
        """Who exports what."""
        lines = [b"# Aliases for symbols, used by symbol_request().\n"]
        lines += (b"alias symbol:%b %b\n" % (name, owner.name) for name, owner in self._owned())
        return b"".join(lines)

    def symbols_bin(self) -> bytes:
        """The same for a search."""
        entries = ((b"symbol:" + name, owner.name, owner.index) for name, owner in self._owned())
        return self._index(entries, lambda key, value: f"duplicate module syms:\n{key} {value}")

    def builtin_bin(self) -> bytes:
        """The modules that the kernel has in itself; empty if nothing says which."""
        text = self._depmod.read_input("modules.builtin")
        if text is None:
            return b""
        entries = []
        for line in text.splitlines(keepends=True):
            if line[:1].isalpha():
                name = line.rpartition(b"/")[2].partition(b".")[0].replace(b"-", b"_")
                entries.append((name, b"", 0))
            else:
                self._console.error(f"Invalid modules.builtin line: {os.fsdecode(line)}")
        return self._index(entries)

    def builtin_alias_bin(self) -> bytes:
        """The aliases of those; empty if nothing says which."""
        text = self._depmod.read_input("modules.builtin.modinfo")
        return b"" if text is None else self._index(self._builtin_aliases(text))

    def devname(self) -> bytes:
        """The device nodes whose opening loads a module."""
        lines = []
        for mod in self._depmod.modules:
            node, device = _device(mod)
            if node is None:
                continue
            if device is not None:
                lines.append(b"%b %b %b\n" % (mod.name, node, device))
                continue
            self._console.error(
                f"Module '{os.fsdecode(mod.name)}' has devname ({os.fsdecode(node)}) but "
                "lacks major and minor information. Ignoring."
            )
        head = [b"# Device nodes to trigger on-demand module loading.\n"] if lines else []
        return b"".join(head + lines)

    # --- where they come from ---------------------------------------------------------------------------

    def _line(self, mod: Mod) -> list[bytes]:
        return [mod.relpath + b":", *(dep.relpath for dep in _all_dependencies(mod))]

    def _info(self, key: bytes) -> Iterator[tuple[Mod, bytes]]:
        """The values of a key in all modules."""
        start = key + b"="
        for mod in self._depmod.modules:
            yield from ((mod, text[len(start) :]) for text in mod.info if text.startswith(start))

    def _normal_aliases(self) -> Iterator[tuple[bytes, bytes, int]]:
        for mod, value in self._info(b"alias"):
            alias = self._normalize(value)
            if alias is not None:
                yield alias, mod.name, mod.index

    def _normalize(self, value: bytes) -> bytes | None:
        alias = normalize(value)
        if alias is None:
            self._console.warning(f"Unmatched bracket in {os.fsdecode(value)}")
        return alias

    def _owned(self) -> Iterator[tuple[bytes, Mod]]:
        """Symbols of modules, in the order of kmod's table."""
        symbols = self._depmod.symbols
        for name in in_order(symbols, SYMBOL_BUCKETS):
            owner = symbols[name][0]
            if owner is not None:
                yield name, owner

    def _builtin_aliases(self, text: bytes) -> Iterator[tuple[bytes, bytes, int]]:
        """Of NUL-terminated "module.key=value", the aliases; kmod's eye for what makes no sense included."""
        at = 0

        def until(stop: bytes) -> bytes:
            """What comes before `stop`; nothing if the string ends before it."""
            nonlocal at
            start = at
            ends = [found for found in (text.find(stop, at), text.find(b"\0", at)) if found >= 0]
            end = min(ends, default=len(text))
            at = end + 1
            return text[start:end] if text[end : end + 1] == stop else b""

        while at < len(text):
            name = until(b".")
            if not name:
                continue
            is_alias, value = until(b"=") == b"alias", until(b"\0")
            alias = self._normalize(value) if is_alias and value else None
            if alias is not None:
                yield alias, name, 0

    def _index(
        self,
        entries: Iterable[tuple[bytes, bytes, int]],
        duplicate: Callable[[str, str], str] | None = None,
    ) -> bytes:
        if self._duplicates and duplicate is not None:
            entries = self._warned(entries, duplicate)
        return index.build(entries)

    def _warned(
        self, entries: Iterable[tuple[bytes, bytes, int]], duplicate: Callable[[str, str], str]
    ) -> Iterator[tuple[bytes, bytes, int]]:
        """Entries, with a warning where a key has the same value again."""
        seen = set()
        for key, value, priority in entries:
            if (key, value) in seen:
                self._console.warning(duplicate(os.fsdecode(key), os.fsdecode(value)))
            seen.add((key, value))
            yield key, value, priority


def _all_dependencies(mod: Mod) -> list[Mod]:
    """All that a module needs and they need, users first."""
    found: dict[Mod, None] = {}
    stack = list(mod.deps)
    while stack:
        dep = stack.pop()
        if dep not in found:
            found[dep] = None
            stack += dep.deps
    return sorted(found, key=lambda dep: dep.rank)


def _device(mod: Mod) -> tuple[bytes | None, bytes | None]:
    """The node that a module wants and its type and numbers: the first of each pair that is complete."""
    node = device = None
    for text in mod.info:
        if not text.startswith(b"alias="):
            continue
        alias = text[len(b"alias=") :]
        if alias.startswith(b"devname:"):
            node = alias[len(b"devname:") :]
        elif found := _DEVICE.match(alias):
            major, minor = (int(number) % _UINT for number in found.group(2, 3))
            device = b"%b%d:%d" % (found[1][:1], major, minor)
        if node is not None and device is not None:
            break
    return node, device
