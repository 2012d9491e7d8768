"""What somebody handed in: a file, a directory or an archive; none of it is trusted."""

from __future__ import annotations

import hashlib
import os
import stat
import tarfile
import zipfile
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from kmod_emu.labs.compile import SOURCE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kmod_emu.labs.lab import Lab

ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.xz", ".tar.bz2")
_MOST_FILES, _SOURCE_BYTES, _MODULE_BYTES = 1000, 1 << 20, 32 << 20


class Rejected(Exception):
    """Why there is nothing to be tested: a sentence."""


def names(folder: Path) -> list[str]:
    """The submissions in a directory, hidden files excepted."""
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))


def digest(path: Path) -> str:
    """Changes with the bytes of a submission; of what is too large, with its size."""
    found = hashlib.sha256()
    for place in (path, *sorted(path.rglob("*"))) if path.is_dir() and not path.is_symlink() else (path,):
        status = place.lstat()
        facts = f"{place.relative_to(path.parent)!s}\0{status.st_mode}\0{status.st_size}\0"
        found.update(facts.encode(errors="surrogateescape"))
        if stat.S_ISLNK(status.st_mode):
            found.update(os.fsencode(os.readlink(place)))
        elif stat.S_ISREG(status.st_mode) and status.st_size <= _MODULE_BYTES:
            found.update(place.read_bytes())
    return found.hexdigest()


def take(path: Path, lab: Lab, folder: Path) -> list[Path]:
    """Copy the sources, or the built module, that a submission has into an empty directory.

    Raises:
        Rejected: There are none, or it is not what a submission looks like.
    """
    taken: dict[str, Path] = {}
    try:
        for place, data in _contents(path, lab):
            name = PurePosixPath(place).name
            if name in taken:
                raise Rejected(f"it has two files called {name}")
            taken[name] = folder / name
            taken[name].write_bytes(data)
    except Rejected:
        raise
    except OSError as error:
        raise Rejected(f"it cannot be read: {error.strerror or error}") from None
    except Exception as error:  # whatever the libraries make of bytes that somebody invented
        raise Rejected(f"the archive cannot be read: {error}") from None
    sources = [place for place in taken.values() if place.suffix != ".ko"]
    if any(place.suffix == ".c" for place in sources):
        return sources
    modules = [place for place in taken.values() if place.suffix == ".ko"]
    if len(modules) > 1:
        raise Rejected("it has several modules and no source")
    if not modules:
        raise Rejected("it has no .c file" + (" and no .ko" if lab.ko else ""))
    return modules


def _contents(path: Path, lab: Lab) -> Iterator[tuple[str, bytes]]:
    if path.is_symlink():
        raise Rejected("it is a symbolic link")
    if path.is_dir():
        yield from _directory(path, lab)
    elif path.name.endswith(".zip"):
        yield from _zip(path, lab)
    elif path.name.endswith(ARCHIVES):
        yield from _tar(path, lab)
    elif not path.is_file():
        raise Rejected("it is no regular file")
    elif path.suffix not in (".c", ".ko"):
        raise Rejected(f"it is neither a directory nor .c, .ko or one of {', '.join(ARCHIVES)}")
    else:
        name = path.name if path.suffix == ".ko" else f"{lab.module}.c"
        if _wanted(name, path.stat().st_size, lab):
            yield name, path.read_bytes()


def _wanted(place: str, size: int, lab: Lab, *, link: bool = False) -> bool:
    """Whether a file counts.

    Raises:
        Rejected: It would, but is something else than a file of reasonable size.
    """
    pure = PurePosixPath(place)
    if pure.is_absolute() or ".." in pure.parts:
        raise Rejected(f"{place[:100]} leads out of the archive")
    module = pure.suffix == ".ko"
    if module:
        if not lab.ko:
            return False
    elif not SOURCE.fullmatch(pure.name) or not any(fnmatchcase(pure.name, name) for name in lab.files):
        return False
    if pure.name.endswith(".mod.c") or pure.name.startswith("."):  # what a build left
        return False
    if link:
        raise Rejected(f"{pure.name} is a symbolic link")
    if size > (_MODULE_BYTES if module else _SOURCE_BYTES):
        raise Rejected(f"{pure.name} is too large: {size} bytes")
    return True


def _directory(folder: Path, lab: Lab) -> Iterator[tuple[str, bytes]]:
    count = 0
    for top, directories, files in os.walk(folder):
        directories.sort()
        for name in sorted(files):
            count += 1
            if count > _MOST_FILES:
                raise Rejected(f"it has more than {_MOST_FILES} files")
            place = Path(top, name)
            status = place.lstat()
            link = not stat.S_ISREG(status.st_mode)
            if _wanted(str(place.relative_to(folder)), status.st_size, lab, link=link):
                yield name, place.read_bytes()


def _zip(path: Path, lab: Lab) -> Iterator[tuple[str, bytes]]:
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        if len(entries) > _MOST_FILES:
            raise Rejected(f"it has more than {_MOST_FILES} files")
        for entry in entries:
            link = stat.S_ISLNK(entry.external_attr >> 16)
            if not entry.is_dir() and _wanted(entry.filename, entry.file_size, lab, link=link):
                with archive.open(entry) as file:
                    yield entry.filename, file.read(entry.file_size)


def _tar(path: Path, lab: Lab) -> Iterator[tuple[str, bytes]]:
    total = 0
    with tarfile.open(path, "r|*") as archive:
        for count, entry in enumerate(archive):
            total += entry.size
            if count >= _MOST_FILES or total > 2 * _MODULE_BYTES:
                raise Rejected(f"it has more than {_MOST_FILES} files or {2 * _MODULE_BYTES >> 20} MB")
            if not entry.isdir() and _wanted(entry.name, entry.size, lab, link=not entry.isreg()):
                file = archive.extractfile(entry)
                assert file is not None
                yield entry.name, file.read()
