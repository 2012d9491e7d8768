"""Kernel profiles: what differs from one kernel release to the next.

A profile holds a release's version magic, the layout of its structures and its exported symbols with their
link addresses, licences, namespaces and CRCs. Code asks a profile for facts ("does struct module have a
member mem?"), never for a version number.

Each release is one file under `kmod_emu/data/profiles`, made by `scripts/build_profiles.py`: zlib-compressed
ASCII, one line a column, `name TAB text`. `facts` and `structs` are JSON; `names` is separated by spaces and
sorted; `values` and `crcs` are little-endian 32-bit words in hex (addresses are sign-extended); `gpl` is one
digit a symbol; `namespaces` is JSON, namespace -> positions. The columns of exports are joined to rows only
when a row is asked for: a release has some 10,000 and a module imports some 30.
"""

from __future__ import annotations

import json
import zlib
from array import array
from collections.abc import Mapping
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Export", "Member", "Profile", "StructLayout", "available", "for_vermagic", "load"]

DEFAULT_SERIES = "6.1"

_DIRECTORY = Path(__file__).parent.parent / "data" / "profiles"
_SUFFIX = ".tsv.z"
_MASK64 = (1 << 64) - 1


class Export(NamedTuple):
    """A symbol that the real kernel exports.

    Attributes:
        name: The symbol.
        crc: Its CRC, None in a kernel built without MODVERSIONS.
        gpl: Whether only GPL-compatible modules may use it.
        namespace: The namespace an importer must name, "" for none.
        value: Its link-time address; a per-CPU symbol's is an offset into the per-CPU area where the
            kernel's per-CPU section is zero-based (up to 6.12).
    """

    name: str
    crc: int | None
    gpl: bool
    namespace: str
    value: int


class Member(NamedTuple):
    """Where a member lies in its structure.

    Attributes:
        offset: Bytes from the structure's start.
        size: Bytes; for a bit-field, of the storage unit at `offset`.
        bit: A bit-field's lowest bit in that unit, None for an ordinary member.
    """

    offset: int
    size: int
    bit: int | None = None


class StructLayout(NamedTuple):
    """The layout of one structure in one release.

    Attributes:
        name: Its tag, without "struct".
        size: sizeof, in bytes.
        members: By name, those of anonymous inner structures and unions included.
        release: The kernel release it belongs to.
    """

    name: str
    size: int
    members: Mapping[str, Member]
    release: str = ""

    def offset(self, member: str) -> int:
        """The offset of a member in bytes; KeyError if there is no such member."""
        try:
            return self.members[member].offset
        except KeyError:
            where = f" in {self.release}" if self.release else ""
            raise KeyError(f"struct {self.name} has no member {member}{where}") from None


class _StructTable(Mapping[str, StructLayout]):
    """All layouts of a release; each is built when first asked for."""

    def __init__(self, text: str, release: str) -> None:
        self._raw: dict[str, Any] = json.loads(text)
        self._release = release
        self._layouts: dict[str, StructLayout] = {}

    def __getitem__(self, name: str) -> StructLayout:
        layout = self._layouts.get(name)
        if layout is None:
            raw = self._raw[name]
            members = {member: _member(*place) for member, place in raw["members"].items()}
            layout = self._layouts[name] = StructLayout(name, raw["size"], members, self._release)
        return layout

    def __iter__(self) -> Iterator[str]:
        return iter(self._raw)

    def __len__(self) -> int:
        return len(self._raw)


def _member(offset: int, size: int, bit: str | None = None) -> Member:
    return Member(offset, size, None if bit is None else int(bit.removeprefix("bit")))


def _words(typecode: str, column: str) -> array[int]:
    words = array(typecode)
    words.frombytes(bytes.fromhex(column))
    return words


class _ExportTable(Mapping[str, Export]):
    """All exports of a release, in columns sorted by name; rows are made on demand."""

    def __init__(self, columns: Mapping[str, str]) -> None:
        self.names = columns["names"].split(" ")
        self.index = dict(zip(self.names, range(len(self.names)), strict=True))
        self._values = _words("i", columns["values"])
        self._crcs = _words("I", columns["crcs"])
        self._gpl = columns["gpl"]
        self._namespaces: dict[int, str] = {
            position: namespace
            for namespace, positions in json.loads(columns["namespaces"]).items()
            for position in positions
        }

    def __getitem__(self, name: str) -> Export:
        position = self.index[name]
        return Export(
            name,
            self._crcs[position] if self._crcs else None,
            self._gpl[position] == "1",
            self._namespaces.get(position, ""),
            self._values[position] & _MASK64,
        )

    def __contains__(self, name: object) -> bool:
        return name in self.index

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)


class Profile:
    """One kernel release as data. Get one from `load`.

    Attributes:
        release: As `uname -r` prints it.
        version: As `uname -v` prints it where that is known, else the distribution's version.
        vermagic: The version magic of modules built for it, with the trailing space.
        series: The release's first two numbers, "6.1".
        config: Configuration options that change what modules see, without CONFIG_; an option that is
            missing here is not known.
        static_percpu_start: Link address of the kernel's own per-CPU variables: 0 where they are zero-based.
        static_percpu_size: Bytes of the kernel's own per-CPU variables on each CPU.

    >>> profile = load("6.1")
    >>> profile.vermagic
    '6.1.0-56-amd64 SMP preempt mod_unload modversions '
    >>> profile.offset("task_struct", "pid"), profile.struct("module").size
    (2416, 896)
    >>> hex(profile.exports["current_task"].value)
    '0x1fb80'
    """

    def __init__(self, columns: Mapping[str, str]) -> None:
        facts: dict[str, Any] = json.loads(columns["facts"])
        self._columns = columns
        self.release: str = facts["release"]
        self.version: str = facts["version"]
        self.vermagic: str = facts["vermagic"]
        self.series: str = facts["series"]
        self.config: Mapping[str, int | bool] = facts["config"]
        self.static_percpu_start: int = facts.get("static_percpu_start", 0)
        self.static_percpu_size: int = facts["static_percpu_size"]

    @classmethod
    def from_bytes(cls, contents: bytes) -> Profile:
        """A profile from the contents of a profile file; ValueError or KeyError if it is not one."""
        try:
            text = zlib.decompress(contents).decode("ascii")
        except zlib.error as error:
            raise ValueError(f"not a profile file: {error}") from None
        columns = (line.partition("\t") for line in text.split("\n") if line)
        return cls({name: column for name, _, column in columns})

    def __repr__(self) -> str:
        return f"<Profile {self.release}>"

    @cached_property
    def structs(self) -> Mapping[str, StructLayout]:
        """Structure layouts by tag."""
        return _StructTable(self._columns["structs"], self.release)

    @cached_property
    def _export_table(self) -> _ExportTable:
        return _ExportTable(self._columns)

    @property
    def exports(self) -> Mapping[str, Export]:
        """Exported symbols by name, iterated in the order of their names."""
        return self._export_table

    @property
    def exports_names(self) -> list[str]:
        """The names of all exports, sorted. Do not change the list."""
        return self._export_table.names

    def export_index(self, name: str) -> int:
        """The position of an export in `exports_names`; KeyError if the kernel does not export it."""
        return self._export_table.index[name]

    def struct(self, name: str) -> StructLayout:
        """The layout of `struct name`; KeyError with a sentence if the profile has none."""
        try:
            return self.structs[name]
        except KeyError:
            raise KeyError(f"no layout of struct {name} in the profile of {self.release}") from None

    def offset(self, struct: str, member: str) -> int:
        """offsetof(struct, member) in bytes; KeyError naming what is missing."""
        return self.struct(struct).offset(member)

    def has(self, path: str) -> bool:
        """Whether a structure ("pcpu_hot") or a member ("module.mem") exists in this release.

        >>> load("6.1").has("module.core_layout"), load("6.12").has("module.core_layout")
        (True, False)
        """
        struct, _, member = path.partition(".")
        return struct in self.structs and (not member or member in self.structs[struct].members)

    @property
    def modversions(self) -> bool:
        """Whether exports have CRCs (CONFIG_MODVERSIONS)."""
        return bool(self.config["MODVERSIONS"])

    @property
    def preempt_dynamic(self) -> bool:
        """Whether the preemption model is chosen at boot, so that modules keep a preempt count."""
        return bool(self.config["PREEMPT_DYNAMIC"])

    @property
    def hz(self) -> int:
        """Timer ticks a second (CONFIG_HZ)."""
        return int(self.config["HZ"])

    @cached_property
    def certificates(self) -> tuple[bytes, ...]:
        """X.509 certificates (DER) of the keys that the kernel trusts for modules, where they are known."""
        path = _DIRECTORY / f"{self.release}.der"
        return (path.read_bytes(),) if path.is_file() else ()

    @cached_property
    def layout_regions(self) -> str:
        """How struct module describes its memory.

        "core_init": two regions, `core_layout` and `init_layout`; "mem": an array of regions by kind
        (since commit ac3b43283923, "module: replace module_layout with module_memory").
        """
        return "mem" if self.has("module.mem") else "core_init"


def available() -> list[str]:
    """The releases that have a profile, oldest first.

    >>> available()
    ['5.10.0-32-amd64', '6.1.0-56-amd64', '6.12.107+deb13-amd64', '7.2.13+deb14-amd64']
    """
    releases = [path.name.removesuffix(_SUFFIX) for path in _DIRECTORY.glob(f"*{_SUFFIX}")]
    return sorted(releases, key=_release_key)


def _release_key(release: str) -> tuple[list[int], str]:
    """Sort by the numbers in a release, so that 6.2 comes before 6.12."""
    digits = "".join(character if character.isdigit() else " " for character in release)
    return [int(number) for number in digits.split()], release


def _series(release: str) -> str:
    return ".".join(release.split("-")[0].split("+")[0].split(".")[:2])


def load(release: str | None = None) -> Profile:
    """The profile of a release.

    Args:
        release: A whole release ("6.1.0-56-amd64"), a series ("6.1": its newest release) or None (6.1).

    Raises:
        LookupError: There is no such profile; the text lists those there are.

    >>> load().release, load("7.2").modversions
    ('6.1.0-56-amd64', False)
    """
    return _load(DEFAULT_SERIES if release is None else release)


@lru_cache(maxsize=16)
def _load(release: str) -> Profile:
    path = _DIRECTORY / (release + _SUFFIX)
    if _series(release) != release and "/" not in release and path.is_file():
        return _read(release)
    matches = [known for known in available() if _series(known) == release]
    if not matches:
        raise LookupError(f"no profile for kernel {release!r}; there are: {', '.join(available())}")
    return _read(matches[-1])


@lru_cache(maxsize=16)
def _read(release: str) -> Profile:
    return Profile.from_bytes((_DIRECTORY / (release + _SUFFIX)).read_bytes())


def for_vermagic(vermagic: str) -> Profile | None:
    """The profile that a module's version magic asks for.

    The module's own release first; else the newest release of its series whose flags (all after the release,
    as `same_magic` in kernel/module/version.c compares them) are the same; else None.

    >>> for_vermagic("6.1.0-9-amd64 SMP preempt mod_unload modversions ")
    <Profile 6.1.0-56-amd64>
    >>> for_vermagic("2.6.32 SMP mod_unload ") is None
    True
    """
    release, _, flags = vermagic.partition(" ")
    known = available()
    if release in known:
        return load(release)
    for candidate in reversed([name for name in known if _series(name) == _series(release)]):
        profile = load(candidate)
        if profile.vermagic.partition(" ")[2] == flags:
            return profile
    return None
