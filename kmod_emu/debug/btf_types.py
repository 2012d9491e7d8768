"""Types of modules that have BTF and no DWARF, as distributions ship them.

Their BTF stands on their kernel's, which is taken from the machine, or from its image where that is
installed. Reading that takes about a second, so it happens when a type is asked for that nothing else knows.
"""

from __future__ import annotations

from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from kmod_emu.abi.btf import BadBtf, Btf
from kmod_emu.debug.c import types as c
from kmod_emu.debug.c.parser import parse_type
from kmod_emu.debug.c.values import DebugError
from kmod_emu.debug.profile_types import plain_type

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kmod_emu.kernel.kernel import KernelCore

__all__ = ["BtfTypes", "btf_of"]


def btf_of(image: bytes) -> bytes:
    """The .BTF section of a module file; b"" if it has none."""
    import io

    from elftools.common.exceptions import ELFError
    from elftools.elf.elffile import ELFFile

    try:
        section = ELFFile(io.BytesIO(image)).get_section_by_name(".BTF")
        return bytes(section.data()) if section is not None else b""
    except (ELFError, ValueError):
        return b""


class BtfTypes:
    """Types of one release's kernel and some of its modules.

    Args:
        kernel: The machine.
        modules: The .BTF sections of modules.
    """

    def __init__(self, kernel: KernelCore, modules: list[bytes]) -> None:
        self._kernel, self._modules = kernel, modules
        self._known: dict[str, c.CType | None] = {}

    @cached_property
    def _tables(self) -> list[Btf]:
        """The modules' tables and then the kernel's; none if that is not there."""
        base = self._kernel.types or _kernel_btf(self._kernel.profile.release)
        if base is None:
            return []
        tables = []
        for data in self._modules:
            try:
                tables.append(Btf(data, base))
            except BadBtf:
                continue
        return [*tables, base]

    def named(self, key: str) -> c.CType | None:
        """A type by "struct file" or "size_t"; None if nothing tells of it."""
        if key not in self._known:
            self._known[key] = None  # while it is read: no type consists of itself
            with suppress(BadBtf, DebugError, IndexError):
                self._known[key] = self._read(key)
        return self._known[key]

    def prototype(self, name: str) -> str | None:
        """The C prototype of a module's function."""
        try:
            return next((text for table in self._tables if (text := table.prototype(name))), None)
        except BadBtf:
            return None

    def _read(self, key: str) -> c.CType | None:
        keyword, _, tag = key.partition(" ")
        for table in self._tables:
            if keyword in ("struct", "union") and tag in table.structs:
                layout = table.layout(tag)
                assert layout is not None
                return c.Aggregate(keyword, tag, layout.size, lambda: tuple(self._fields(table, tag)))  # noqa: B023
            if keyword == "enum":
                return c.Enum(tag, 4, {}, signed=False)
            if not tag and (text := table.typedef(key)) is not None:
                target = parse_type(text, self._mentioned)
                return c.Typedef(key, target) if target is not None else None
        return None

    def _mentioned(self, key: str) -> c.CType | None:
        """A type that another one mentions; it may be declared only."""
        found = self.named(key)
        keyword, _, tag = key.partition(" ")
        if found is None and keyword in ("struct", "union"):
            return c.Aggregate(keyword, tag, None)
        return found

    def _fields(self, table: Btf, tag: str) -> Iterator[c.Field]:
        layout = table.layout(tag)
        assert layout is not None
        texts = table.member_types(tag)
        for name, member in layout.members.items():
            kind = self._field_type(texts[name])
            if kind is None or kind.size != member.size:
                kind = plain_type(member.size)  # a structure without a tag
            yield c.Field(name, kind, member.offset, member.bit or 0, member.bits or 0)

    def _field_type(self, text: str) -> c.CType | None:
        try:
            return parse_type(text, self._mentioned)
        except DebugError:
            return None


def _kernel_btf(release: str) -> Btf | None:
    """The BTF of an installed kernel."""
    from kmod_emu.vmlinux.errors import BadImage
    from kmod_emu.vmlinux.vmlinux import Vmlinux

    running = Path("/proc/sys/kernel/osrelease")
    try:
        if running.exists() and running.read_text().strip() == release:
            return Btf(Path("/sys/kernel/btf/vmlinux").read_bytes())
    except (OSError, BadBtf):
        pass
    try:
        data = Vmlinux.from_image(Path(f"/boot/vmlinuz-{release}").read_bytes()).contents(".BTF")
        return Btf(data) if data else None
    except (OSError, BadImage, BadBtf):
        return None
