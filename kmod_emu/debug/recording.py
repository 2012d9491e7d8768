"""Recordings: one run of a module, to be done again later or elsewhere.

Execution is deterministic, so a recording is what went in: the module, its arguments, who loaded it, where
code that ran long was looked at, and what somebody changed in a debugger. The file is a line that says what
it is, and compressed JSON.
"""

from __future__ import annotations

import base64
import json
import zlib
from types import MappingProxyType, NoneType
from typing import TYPE_CHECKING, Any, NamedTuple

from kmod_emu import __version__, atomic
from kmod_emu.debug.goal import Edit
from kmod_emu.errors import KernelError
from kmod_emu.kernel.limits import Limits
from kmod_emu.uapi import errno

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

    from kmod_emu.debug.debugger import Debugger

SUFFIX = ".kmodrec"
MAGIC = b"kmod-emu recording 1\n"
_LARGEST = 1 << 29  # of what is unpacked
_REGISTERS = frozenset({
    "rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rbp", "rsp", "rip", "eflags", *(f"r{n}" for n in range(8, 16)),
})  # fmt: skip


class Recording(NamedTuple):
    """What went into a run.

    Attributes:
        release: The kernel's.
        made: What else its machine was made with, as `Kernel.made` says it.
        limits: What modules might use, as `Limits` has it; none for the defaults.
        image: The module's file.
        params: "name=value name=value".
        uid: Who loaded it.
        remove: Whether it was unloaded after a load that went well.
        permissive: As `Kernel` was given it.
        smap: Likewise.
        looks: Places (stretch, steps) where the scheduler looked at code that ran long.
        edits: What somebody changed.
        stretches: How many stretches are known.
        end: Where the run was given up, None if it came to its end.
        log: Lines of the kernel log at the end.
        version: Of the kmod-emu that made it.
    """

    release: str
    image: bytes
    params: str = ""
    uid: int = 0
    remove: bool = True
    permissive: bool = False
    smap: bool = True
    looks: tuple[tuple[int, int], ...] = ()
    edits: tuple[Edit, ...] = ()
    stretches: int = 0
    end: tuple[int, int] | None = None
    log: tuple[str, ...] = ()
    version: str = __version__
    made: Mapping[str, str] = MappingProxyType({})
    limits: tuple[float | None, ...] = ()

    def to_bytes(self) -> bytes:
        """The file's contents."""
        plain = self._asdict() | {"image": base64.b64encode(self.image).decode(), "made": dict(self.made)}
        return MAGIC + zlib.compress(json.dumps(plain).encode(), 9)

    def write(self, path: str | os.PathLike[str]) -> None:
        """Write the file, as a whole or not at all; OSError if that cannot be."""
        atomic.write(path, self.to_bytes())

    @classmethod
    def of(cls, debugger: Debugger) -> Recording:
        """The run of a debugger that was started with a module, as far as it has come."""
        source, timeline, kernel = debugger.source, debugger.timeline, debugger.kernel
        if source is None:
            raise KernelError(errno.EINVAL, "only the load of a module can be recorded")
        return source._replace(
            release=kernel.profile.release,
            permissive=kernel.faults.permissive,
            smap=kernel.memory.smap,
            looks=tuple(sorted(timeline.looks)),
            edits=tuple(timeline.edits),
            stretches=timeline.frontier,
            end=None if debugger.ended else debugger.place[:2],
            log=tuple(kernel.dmesg()),
            version=__version__,
            made=kernel.made(),
            limits=tuple(kernel.usage.limits),
        )


def is_recording(contents: bytes) -> bool:
    """Whether a file begins like a recording."""
    return contents.startswith(MAGIC)


def from_bytes(contents: bytes) -> Recording:
    """Read a recording.

    Raises:
        KernelError: EINVAL: it is none, or damaged, or of another version.
    """
    head = MAGIC.rpartition(b" ")[0]
    if not contents.startswith(head):
        raise KernelError(errno.EINVAL, "this is no recording of kmod-emu")
    if not is_recording(contents):
        raise KernelError(errno.EINVAL, "this recording has another version of the format")
    try:
        unpacker = zlib.decompressobj()
        text = unpacker.decompress(contents[len(MAGIC) :], _LARGEST)
        if not unpacker.eof:
            raise ValueError("it is cut off")
        return _read(json.loads(text))
    except (ValueError, zlib.error, TypeError, KeyError, RecursionError) as error:
        raise KernelError(errno.EINVAL, "this recording is damaged") from error


def _read(plain: dict[str, Any]) -> Recording:
    """Check each value: these files are passed around."""
    return Recording(
        release=_of(str, plain["release"]),
        image=base64.b64decode(_of(str, plain["image"]), validate=True),
        params=_of(str, plain["params"]),
        uid=_of(int, plain["uid"]),
        remove=_of(bool, plain["remove"]),
        permissive=_of(bool, plain["permissive"]),
        smap=_of(bool, plain["smap"]),
        looks=tuple(_place(look) for look in plain["looks"]),
        edits=tuple(Edit(*_place(edit[:2]), _change(edit[2])) for edit in plain["edits"]),
        stretches=_of(int, plain["stretches"]),
        end=None if plain["end"] is None else _place(plain["end"]),
        log=tuple(_of(str, line) for line in plain["log"]),
        version=_of(str, plain["version"]),
        made={_of(str, name): _of(str, value) for name, value in plain.get("made", {}).items()},
        limits=_limits(plain.get("limits", [])),
    )


def _of(kind: type, value: Any) -> Any:
    if type(value) is not kind:
        raise TypeError(f"{value!r} is no {kind.__name__}")
    return value


def _limits(values: Any) -> tuple[float | None, ...]:
    if values and len(values) != len(Limits._fields):
        raise ValueError("these are no limits")
    if any(type(value) not in (int, float, NoneType) or (value or 0) < 0 for value in values):
        raise TypeError("a limit is a number or none")
    return tuple(values)


def _place(pair: Any) -> tuple[int, int]:
    stretch, steps = pair
    return _of(int, stretch), _of(int, steps)


def _change(change: Any) -> tuple[str, Any, Any]:
    kind, what, value = change
    if kind == "memory":
        bytes.fromhex(value)
        return kind, _of(int, what), value
    if kind == "register" and what in _REGISTERS:
        return kind, what, _of(int, value)
    raise ValueError(f"{kind!r} is no change")
