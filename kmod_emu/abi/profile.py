"""Kernel profiles: what differs from one kernel release to the next.

A profile holds a release's version magic, the layout of its structures and its exported symbols with their
link addresses, licences, namespaces and CRCs. Code asks a profile for facts ("does struct module have a
member mem?"), never for a version number.

Each release is one file, shipped in `kmod_emu/data/profiles` or made by `kmod-emu profile build` and kept in
the user's data directory; `abi/profile_file.py` describes it. The columns of exports are joined to rows only
when a row is asked for: a release has some 10,000 and a module imports some 30.
"""

from __future__ import annotations

import json
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kmod_emu import home
from kmod_emu.abi.export_table import Export, ExportTable, encode_exports
from kmod_emu.abi.layout import Member, StructLayout
from kmod_emu.abi.profile_file import Columns, encode
from kmod_emu.abi.struct_table import StructTable, encode_structs

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = [
    "Export",
    "Member",
    "Profile",
    "StructLayout",
    "available",
    "contents",
    "for_vermagic",
    "load",
    "path",
    "user_directory",
]

DEFAULT_SERIES = "6.1"

SHIPPED = Path(__file__).parent.parent / "data" / "profiles"
SUFFIX = ".profile"
_NAME = "@"  # stands for a function's name in its prototype


def contents(
    facts: Mapping[str, Any],
    structs: Iterable[StructLayout],
    exports: Iterable[Export],
    prototypes: Mapping[str, str],
    builtin: Mapping[str, Mapping[str, int]],
    certificates: Iterable[bytes],
) -> bytes:
    """The contents of a profile file.

    Args:
        facts: The attributes of `Profile` that are plain values, by name.
        structs: Layouts.
        exports: Exported symbols; all with a CRC or none.
        prototypes: C prototypes of exports, as far as they are known.
        builtin: Built-in modules as /sys/module lists them: their parameters' names and permissions.
        certificates: X.509 certificates (DER) of the keys that modules may be signed with.

    Raises:
        ValueError: An address outside the topmost and lowest 2 GiB, or a CRC here and none there.
    """
    rows = sorted(exports)
    return encode(
        facts,
        {
            **encode_exports(rows),
            "structs": encode_structs(structs).encode(),
            "builtin": json.dumps(builtin, sort_keys=True, separators=(",", ":")).encode(),
            "certificates": json.dumps([certificate.hex() for certificate in certificates]).encode(),
            "prototypes": "\n".join(
                prototypes.get(row.name, "").replace(row.name, _NAME, 1) for row in rows
            ).encode(),
        },
    )


class Profile:
    """One kernel release as data. Get one from `load`.

    Attributes:
        release: As `uname -r` prints it.
        version: As `uname -v` prints it.
        banner: As /proc/version prints it, "" where that is not known.
        vermagic: The version magic of modules built for it, with the trailing space.
        series: The release's first two numbers, "6.1".
        missing: What the files it was made from did not say, in words.
        layouts_of: The release that its layouts are of, where its own are not known, else "".
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

    def __init__(self, columns: Columns) -> None:
        facts = columns.facts
        self._columns = columns
        self.release: str = facts["release"]
        self.version: str = facts["version"]
        self.banner: str = facts["banner"]
        self.vermagic: str = facts["vermagic"]
        self.series: str = _series(self.release)
        self.config: Mapping[str, int | bool] = facts["config"]
        self.static_percpu_start: int = facts["static_percpu_start"]
        self.static_percpu_size: int = facts["static_percpu_size"]
        self.layouts_of: str = facts["layouts_of"]
        self.missing: tuple[str, ...] = tuple(facts["missing"])

    @classmethod
    def from_bytes(cls, contents: bytes) -> Profile:
        """A profile from the contents of a profile file; ValueError if it is not one."""
        try:
            return cls(Columns(contents))
        except KeyError as error:
            raise ValueError(f"a damaged profile file: it lacks {error}") from None

    def standing_for(
        self,
        release: str,
        vermagic: str,
        structs: Mapping[str, StructLayout],
        crcs: Mapping[str, int],
        *,
        modversions: bool,
    ) -> Profile:
        """This profile under the name of another release, for a module that was built for that one.

        Args:
            release: Its name.
            vermagic: Its version magic.
            structs: Layouts that are known better than this profile's.
            crcs: CRCs that its exports have; all others stay.
            modversions: Whether its exports have CRCs at all.
        """
        from collections import ChainMap
        from copy import copy

        other = copy(self)
        other.release, other.vermagic, other.series = release, vermagic, _series(release)
        other.banner = self.banner.replace(self.release, release, 1)
        other.config = {**self.config, "MODVERSIONS": modversions and self.modversions}
        # Only read, so that it need not be a mutable mapping: a copy would decode every layout.
        other.structs = ChainMap(dict(structs), self.structs)  # type: ignore[arg-type]
        other._export_table = self._export_table.with_crcs(crcs, present=other.modversions)
        return other

    def __repr__(self) -> str:
        return f"<Profile {self.release}>"

    @cached_property
    def structs(self) -> Mapping[str, StructLayout]:
        """Structure layouts by tag."""
        return StructTable(self._columns.text("structs"), self.release)

    @cached_property
    def _export_table(self) -> ExportTable:
        return ExportTable(self._columns)

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

    def prototype(self, name: str) -> str | None:
        """The C prototype of an exported function as the kernel was built with it; None if it is not known.

        >>> load("6.1").prototype("misc_register")
        'int misc_register(struct miscdevice *misc)'
        """
        position = self._export_table.index.get(name)
        if position is None or not self._prototypes:
            return None
        return self._prototypes[position].replace(_NAME, name, 1) or None

    @cached_property
    def _prototypes(self) -> list[str]:
        text = self._columns.text("prototypes")
        return text.split("\n") if text else []

    @cached_property
    def builtin_modules(self) -> Mapping[str, Mapping[str, int]]:
        """Built-in modules that have a directory in /sys/module -> their parameters and their permissions.

        >>> load("6.1").builtin_modules["printk"]["time"]
        420
        """
        table: dict[str, dict[str, int]] = json.loads(self._columns.text("builtin") or "{}")
        return table

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
        """X.509 certificates (DER) of the keys that the kernel was built to trust, where they are known."""
        return tuple(map(bytes.fromhex, json.loads(self._columns.text("certificates") or "[]")))

    @cached_property
    def layout_regions(self) -> str:
        """How struct module describes its memory.

        "core_init": two regions, `core_layout` and `init_layout`; "mem": an array of regions by kind
        (since commit ac3b43283923, "module: replace module_layout with module_memory").
        """
        return "mem" if self.has("module.mem") else "core_init"


# ---------------------------------------------------------------------- where profiles are


def user_directory() -> Path:
    """Where profiles that the user built are kept."""
    return home.directory("DATA") / "profiles"


def _paths() -> dict[str, Path]:
    """Release -> its file; the user's own comes before a shipped one of the same release."""
    return {
        file.name.removesuffix(SUFFIX): file
        for directory in (SHIPPED, user_directory())
        for file in directory.glob(f"*{SUFFIX}")
    }


def path(release: str) -> Path:
    """The file of a release that has a profile; KeyError if there is none."""
    return _paths()[release]


def available() -> list[str]:
    """The releases that have a profile, oldest first.

    >>> set(available()) >= {'5.10.0-32-amd64', '6.1.0-56-amd64', '6.12.107+deb13-amd64'}
    True
    """
    return sorted(_paths(), key=_release_key)


def _release_key(release: str) -> tuple[list[int], str]:
    """Sort by the numbers in a release, so that 6.2 comes before 6.12."""
    digits = "".join(character if character.isdigit() else " " for character in release)
    return [int(number) for number in digits.split()], release


def _series(release: str) -> str:
    return ".".join(release.split("-")[0].split("+")[0].split(".")[:2])


def load(release: str | None = None) -> Profile:
    """The profile of a release.

    Args:
        release: A whole release ("6.1.0-56-amd64"), a series ("6.1": its newest release) or None (the newest
            6.1 that is shipped).

    Raises:
        LookupError: There is no such profile, and the text lists those there are; or its file is damaged.

    >>> load().release, load("7.2").modversions
    ('6.1.0-56-amd64', False)
    """
    if release is None:
        return _read(
            max(SHIPPED.glob(f"{DEFAULT_SERIES}.*{SUFFIX}"), key=lambda file: _release_key(file.name))
        )
    paths = _paths()
    if release in paths:
        return _read(paths[release])
    matches = sorted((known for known in paths if _series(known) == release), key=_release_key)
    if not matches:
        known = ", ".join(sorted(paths, key=_release_key))
        raise LookupError(f"no profile for kernel {release!r}; there are: {known}")
    return _read(paths[matches[-1]])


def _read(file: Path) -> Profile:
    return _parse(file, file.stat().st_mtime_ns)


@lru_cache(maxsize=16)
def _parse(file: Path, changed: int) -> Profile:
    try:
        return Profile.from_bytes(file.read_bytes())
    except ValueError as error:
        raise LookupError(f"{file}: {error}") from None


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
