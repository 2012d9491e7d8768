"""What /proc/devices, filesystems, crypto and ioports list, read where the kernel keeps it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from kmod_emu.abi import lists

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kmod_emu.vmlinux.recall import Reader

_HASH_SIZE = 255  # buckets of both tables of majors (CHRDEV_MAJOR_HASH_SIZE, BLKDEV_MAJOR_HASH_SIZE)
_FS_REQUIRES_DEV = 1
_SHORT, _LONG = 0x10000, 8  # digits of addresses: four where all are below the first, else so many


class Registered:
    """Looks at one machine's lists."""

    def __init__(self, reader: Reader) -> None:
        self._reader, self._kernel = reader, reader.kernel

    def _offsets(self, struct: str, *members: str) -> Iterator[int]:
        layout = self._kernel.profile.struct(struct)
        return (layout.offset(member) for member in members)

    def majors(self) -> Iterator[str]:
        """Device numbers that drivers have, as `char 1 mem` (fs/char_dev.c, block/genhd.c)."""
        for kind, table, struct in (
            ("char", "chrdevs", "char_device_struct"),
            ("block", "major_names", "blk_major_name"),
        ):
            reader, first = self._reader, self._kernel.symbol(table)
            following, major, name = self._offsets(struct, "next", "major", "name")
            for bucket in range(_HASH_SIZE):
                entry = reader.read_u64(first + 8 * bucket)
                while entry:
                    yield f"{kind} {reader.number(entry + major, 4)} {reader.text(entry + name).rstrip()}"
                    entry = reader.read_u64(entry + following)

    def filesystems(self) -> Iterator[str]:
        """Names, with a word behind those that need no device (fs/filesystems.c)."""
        reader = self._reader
        single = "next" in self._kernel.profile.struct("file_system_type").members  # 7.x: an hlist
        name, flags, following = self._offsets(
            "file_system_type", "name", "fs_flags", "next" if single else "list"
        )
        link = self._kernel.symbol("file_systems")
        while entry := reader.read_u64(link):
            entry -= 0 if single else following
            text = reader.text(reader.read_u64(entry + name))
            yield text if reader.number(entry + flags, 4) & _FS_REQUIRES_DEV else f"{text} (nodev)"
            link = entry + following

    def algorithms(self) -> Iterator[str]:
        """Name and driver of each (crypto/proc.c)."""
        reader = self._reader
        link, name, driver = self._offsets("crypto_alg", "cra_list", "cra_name", "cra_driver_name")
        for entry in lists.walk(reader, self._kernel.symbol("crypto_alg_list")):
            alg = entry - link
            yield f"{reader.text(alg + name)} driver={reader.text(alg + driver)}"

    def ports(self) -> Iterator[str]:
        """I/O ports that somebody has, without the indentation (kernel/resource.c)."""
        reader, members = self._reader, ("start", "end", "name", "sibling", "child")
        places = _Resource(*self._offsets("resource", *members))
        root = self._kernel.symbol("ioport_resource")
        digits = 4 if reader.read_u64(root + places.end) < _SHORT else _LONG
        waiting = [reader.read_u64(root + places.child)]
        while waiting:
            if entry := waiting.pop():
                start, end = (reader.read_u64(entry + place) for place in (places.start, places.end))
                name = reader.read_u64(entry + places.name)
                text = reader.text(name) if name else "<BAD>"
                yield f"{start:0{digits}x}-{end:0{digits}x} : {text}".strip()
                waiting += (reader.read_u64(entry + place) for place in (places.sibling, places.child))


class _Resource(NamedTuple):
    """Offsets in struct resource."""

    start: int
    end: int
    name: int
    sibling: int
    child: int
