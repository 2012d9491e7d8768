"""The targets."""

from __future__ import annotations

import pkgutil
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

from kmod_emu.errors import InternalError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

NAMES = sorted(module.name for module in pkgutil.iter_modules(__path__))
REGRESSIONS = Path(__file__).parent.parent / "regressions"


class Target(Protocol):
    """What a module here has."""

    EXPECTED: tuple[type[Exception], ...]

    def seeds(self) -> Iterable[bytes]:
        """Inputs to begin with."""

    def start(self) -> Callable[[bytes], object]:
        """What takes an input."""


def target(name: str) -> Target:
    """A target by its name."""
    return cast("Target", import_module(f"fuzz.targets.{name}"))


def mistake_in(error: Exception, expected: tuple[type[Exception], ...]) -> Exception | None:
    """What is wrong about an error that a target raised: nothing, if it is documented."""
    if isinstance(error, InternalError):
        return cast("Exception", error.__cause__)
    return None if isinstance(error, expected) else error


def regressions(name: str) -> list[bytes]:
    """What was once found."""
    folder = REGRESSIONS / name
    return [path.read_bytes() for path in sorted(folder.iterdir())] if folder.is_dir() else []
