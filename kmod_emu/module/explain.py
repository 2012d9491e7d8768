"""Why a module is refused, and what to do: the sentences behind `KernelError.explanation`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.abi import profile as profiles
from kmod_emu.errors import KernelError
from kmod_emu.module.modules import Modules
from kmod_emu.uapi import errno

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kmod_emu.errors import SleepsForever
    from kmod_emu.kernel.kernel import KernelCore
    from kmod_emu.module.modules import Module
    from kmod_emu.module.next_arg import Argument
    from kmod_emu.module.resolve import Found

_BITS = {"byte": 8, "short": 16, "int": 32, "long": 64}
_MANY = 8
_TRUTH = "takes y, n, 1 or 0"
_KINDS = {
    "bool": _TRUTH,
    "bool_enable_only": "takes y or 1, and cannot be switched off again",
    "invbool": _TRUTH,
    "bint": _TRUTH,
    "charp": "takes a text of at most 1024 bytes",
    "string": "takes a text that fits its buffer",
    "hexint": "takes 0 to 0xffffffff",
    "ullong": f"takes 0 to {(1 << 64) - 1}",
}


class UnresolvedSymbols(KernelError):
    """Symbols that a module needs and does not get.

    Attributes:
        missing: Those that nobody exports.
    """

    def __init__(self, failures: dict[str, KernelError]) -> None:
        self.missing = [name for name, failure in failures.items() if failure.errno == errno.ENOENT]
        same: dict[str, list[str]] = {}
        for name, failure in failures.items():
            same.setdefault(failure.explanation.replace(name, "%s"), []).append(name)
        reasons = (reason.replace("%s", few(names)) for reason, names in same.items())
        super().__init__(list(failures.values())[-1].errno, "; ".join(reasons))


def few(names: Sequence[str]) -> str:
    """The first of some names, and how many more there are.

    >>> few(["a", "b"]), few([str(number) for number in range(30)])
    ('a, b', '0, 1, 2, 3, 4, 5 and 24 more')
    """
    shown = names if len(names) <= _MANY else names[: _MANY - 2]
    rest = len(names) - len(shown)
    return ", ".join(shown) + (f" and {rest} more" if rest else "")


def other_kernel(kernel: KernelCore, vermagic: str) -> str:
    """The version magic is another kernel's."""
    here, wanted = kernel.profile.release, kernel.profile.vermagic
    built, _, options = vermagic.partition(" ")
    if built == here:
        ours = wanted.partition(" ")[2]
        return f"built with other options, '{options}', not '{ours}': build it against these headers"
    known = profiles.for_vermagic(vermagic)
    boot = (
        f"boot --release {known.release}"
        if known and known.release != here
        else "boot with --release if there is a profile of it"
    )
    return f"built for {built}, this machine runs {here}: {boot}, or let `run` pick it, or build it anew"


def other_struct_module(kernel: KernelCore, name: str, vermagic: str) -> str:
    """The CRC of module_layout differs."""
    here, built = kernel.profile.release, vermagic.partition(" ")[0]
    if built in ("", here):
        return f"{name} was built against other headers than {here}'s: build it anew"
    if built in profiles.available():
        return other_kernel(kernel, vermagic)
    return (
        f"{name} was built for {built}, and this machine runs {here}, whose structures differ: build anew, "
        "or with debug information, which `run` goes by, or give its vmlinuz to `kmod-emu profile build`"
    )


def unknown_symbol(kernel: KernelCore, name: str, license_: str, hidden: Found | None) -> str:
    """Nobody exports a symbol to this module.

    Args:
        kernel: The machine.
        name: The symbol.
        license_: What the module says of itself.
        hidden: Who exports it to others.
    """
    if hidden is not None and hidden.gpl:
        return f"{name} is for GPL modules only, and this one's licence is '{license_}'"
    if hidden is not None and hidden.owner is not None:
        return (
            f"{name} comes from {hidden.owner.name}, which is proprietary: not for users of GPL-only symbols"
        )
    here = kernel.profile.release
    others = [r for r in profiles.available() if r != here and name in profiles.load(r).exports]
    if others:
        return f"{name} is not exported by {here}, but by {', '.join(others)}: boot with that --release"
    return (
        f"neither the base kernel nor a loaded module exports {name}, nor does any kernel known here: "
        "load the module that does first"
    )


def other_version(name: str, wanted: int | None, found: int) -> str:
    """A symbol's CRC differs."""
    built = "without a version of it" if wanted is None else f"against version {wanted:#010x}"
    return f"{name} has version {found:#010x} here, and the module was built {built}: build it anew"


def in_use(module: Module) -> str:
    """Why rmmod refuses a module that is in use; "" if it is not."""
    if module.users:
        who = ", ".join(user.name for user in module.users)
        return f"{module.name} is used by {who}: remove that first"
    if module.refcnt:
        return (
            f"{module.name} is in use: its reference count is {module.refcnt}; "
            "an open file or the module itself holds it"
        )
    return ""


def waits_forever(kernel: KernelCore, error: SleepsForever) -> str:
    """Why a load never returns: a module whose init died is loading for ever, and who comes later waits."""
    if error.wakes:
        return error.explanation
    stuck = kernel[Modules].stuck()
    if not stuck:
        return "no other task is ready and no timer is armed that could wake it"
    names = few([module.name for module in stuck])
    return (
        f"an oops killed who loaded {names}, so that it stays half loaded, as on Linux, and whoever wants "
        "to load it again waits for that to end; `boot` starts the machine anew"
    )


def parameter_refused(kernel: KernelCore, argument: Argument, number: int, setter: int, count: int) -> str:
    """A parameter's `set` refused.

    Args:
        kernel: The machine.
        argument: What was given.
        number: The errno.
        setter: Address of the `set` operation.
        count: How many values an array takes, 0 for what is none.
    """
    name, value = _text(argument.name), argument.value
    kind = kind_of(kernel, setter)
    takes = f"; it {kind}" if kind else ""
    if count:
        takes = f"; it takes {count} values at most, each of them valid for its type"
    if value is None:
        return f"{name} needs a value: {name}=...{takes}"
    why = {errno.ERANGE: "is out of its range", errno.ENOSPC: "is too long"}.get(number, "is no value for it")
    return f"{name}={_text(value)}: {_text(value)!r} {why}{takes}"


def kind_of(kernel: KernelCore, setter: int) -> str:
    """What the parameter type with this `set` operation takes; "" for a module's own."""
    location = kernel.locate(setter)
    if location is None or location.module is not None or location.offset:
        return ""
    kind = location.name.removeprefix("param_set_").replace("copystring", "string")
    if kind in _KINDS:
        return _KINDS[kind]
    bits = _BITS.get(kind) or _BITS.get(kind[1:], 0)
    if not bits:
        return ""
    if kind == "byte" or kind not in _BITS:
        return f"takes 0 to {(1 << bits) - 1}"
    return f"takes {-1 << bits - 1} to {(1 << bits - 1) - 1}"


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")
