"""What is said about a kernel function that is not implemented: what was called how, and how to supply it."""

from __future__ import annotations

import keyword
from typing import TYPE_CHECKING, Any

from kmod_emu.kernel.calltext import call_text, prototype_of

if TYPE_CHECKING:
    from kmod_emu.abi.prototypes import Prototype
    from kmod_emu.kernel.kernel import KernelCore


def recipe(name: str, prototype: Prototype | None) -> str:
    """Three lines of Python that supply it."""
    parameters = prototype.parameters if prototype else ()
    names = [_python_name(parameter.name, index) for index, parameter in enumerate(parameters)]
    if prototype is None or prototype.variadic:
        names.append("*args")
    declaration = prototype.text if prototype else f"long {name}(...)"
    returns = "" if prototype and prototype.returns.kind == "void" else " 0"
    return (
        f'@kernel.export("{declaration}")\ndef {name}({", ".join(["kernel", *names])}):\n    return{returns}'
    )


def _python_name(name: str, index: int) -> str:
    if not name:
        return f"a{index + 1}"
    return f"{name}_" if keyword.iskeyword(name) else name


def report(kernel: KernelCore, name: str, user: int, *, called: bool) -> dict[str, Any]:
    """The entry of `Faults.reports`: a sentence, and its parts.

    Args:
        kernel: Its processor has just made the call.
        name: The export.
        user: The instruction that used it.
        called: Whether it was called, not read or written.
    """
    prototype = prototype_of(kernel, name)
    verb = "calls" if called else "uses the variable"
    place, line = kernel.describe(user), kernel.faults.line_of(user - called)
    where = f"{place} ({line})" if line else place
    entry: dict[str, Any] = {
        "kind": "unimplemented",
        "text": f"{where} {verb} {name}, which this base kernel does not implement; "
        f'supply it with @kernel.export("{prototype.text if prototype else f"... {name}(...)"}"), '
        "or run with --permissive to let it return 0",
        "name": name,
        "caller": place,
        "source": line,
        "prototype": prototype.text if prototype else None,
    }
    if called:
        entry["arguments"] = call_text(kernel, name, prototype)
        entry["recipe"] = recipe(name, prototype)
        if prototype:
            entry["text"] += f"; the call is {entry['arguments']}"
    return entry
