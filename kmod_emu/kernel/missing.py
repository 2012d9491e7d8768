"""What is said about a kernel function that is not implemented: what was called how, and how to supply it."""

from __future__ import annotations

import keyword
import re
from typing import TYPE_CHECKING, Any

from kmod_emu.kernel.calltext import call_text, prototype_of

if TYPE_CHECKING:
    from kmod_emu.abi.prototypes import Prototype
    from kmod_emu.kernel.kernel import KernelCore


# What the stub kernel does not imitate, by the names of its functions.
_FAMILIES = tuple(
    (re.compile(pattern), what)
    for pattern, what in (
        (r"(__)?(un)?register_blkdev|_*blk_|bio|bdev_|_*alloc_disk|(put|add|del)_(gen)?disk|device_add_disk"
         r"|set_capacity|submit_bio|sb_bread|__bread|__brelse|mount_bdev", "block devices"),
        (r"_*(un)?register_net(dev|if)|free_netdev|alloc_(ether|net)dev|_*(netif|napi|eth|ether|ethtool)_"
         r"|dev_(queue|open|close|addr|add_pack|remove_pack)|rtnl_", "network devices"),
        (r"nf_|xt_|ipt_|ip6t_|ebt_|nft_", "packet filters"),
        (r"_*crypto_", "ciphers and hashes"),
        (r"_*tty_|uart_|serdev_|n_tty_|vc_|fg_console", "terminals"),
        (r"config(fs|_item|_group)_", "configfs directories"),
        (r"_*snd_", "sound cards"),
    )
)  # fmt: skip


def family(name: str) -> str:
    """What is not imitated on the stub kernel, as a whole, that a function belongs to; "" for none.

    >>> family("__register_blkdev"), family("kmalloc")
    ('block devices', '')
    """
    return next((what for pattern, what in _FAMILIES if pattern.match(name)), "")


def variable_recipe(name: str) -> str:
    """Three lines of Python that supply a variable."""
    return f'@kernel.export("{name}")\ndef {name}(kernel, address):\n    kernel.memory.write_u64(address, 0)'


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
    place, location = kernel.describe(user), kernel.locate(user)
    starts = location is not None and not location.offset  # a call that ends a function: the place is lost
    line = kernel.findings.line_of(user - (called and not starts))
    where = f"{place} ({line})" if line else place
    declaration = prototype.text if prototype else f"long {name}(...)" if called else name
    entry: dict[str, Any] = {
        "kind": "unimplemented",
        "text": f"{where} {verb} {name}, which this base kernel does not implement; "
        f'supply it with @kernel.export("{declaration}")',
        "name": name,
        "caller": place,
        "source": line,
        "prototype": prototype.text if prototype else None,
    }
    if what := family(name):
        entry["text"] += f" ({what} are left to a distribution's own kernel: --kernel VMLINUZ)"
    if not called:
        entry["recipe"] = variable_recipe(name)
    else:
        entry["text"] += ", or run with --permissive to let it return 0"
        entry["arguments"] = call_text(kernel, name, prototype)
        entry["recipe"] = recipe(name, prototype)
        if prototype:
            entry["text"] += f"; the call is {entry['arguments']}"
    return entry
