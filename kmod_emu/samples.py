"""The sample modules that come with the package, built by kbuild from `samples/` for Debian's Linux 6.1."""

from __future__ import annotations

from pathlib import Path

__all__ = ["classic", "classic_names", "names", "path"]

SUFFIX = ".ko"
DIRECTORY = Path(__file__).parent / "data" / "samples"
CLASSIC = Path(__file__).parent / "data" / "classic"


def names() -> list[str]:
    """Return the names of the samples, sorted.

    >>> "hello" in names()
    True
    """
    return sorted(file.stem for file in DIRECTORY.glob(f"*{SUFFIX}"))


def path(name: str) -> Path:
    """Return the path of a sample's .ko file.

    Args:
        name: The module's name, as `lsmod` shows it: "hello", not "hello.ko".

    Raises:
        LookupError: No sample has this name; the message lists those there are.

    >>> path("hello").name
    'hello.ko'
    >>> path("helo")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    LookupError: no sample is called 'helo'; there are: ...hello...
    """
    if name not in names():
        raise LookupError(f"no sample is called {name!r}; there are: {', '.join(names())}")
    return DIRECTORY / f"{name}{SUFFIX}"


def classic_names() -> list[str]:
    """Return the names of the samples of the classic path, sorted.

    >>> "fat" in classic_names()
    True
    """
    return sorted(file.stem for file in CLASSIC.glob("*.o"))


def classic(name: str) -> Path:
    """Return the path of a classic sample's object file, for Linux 2.4 (see `samples/classic`).

    Raises:
        LookupError: No sample has this name; the message lists those there are.

    >>> classic("hello").name
    'hello.o'
    """
    if name not in classic_names():
        raise LookupError(f"no classic sample is called {name!r}; there are: {', '.join(classic_names())}")
    return CLASSIC / f"{name}.o"
