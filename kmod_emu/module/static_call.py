"""Static calls at run time: where a key points is patched into its calls (kernel/static_call_inline.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.kernel.exports import export
from kmod_emu.module.finalize import static_calls
from kmod_emu.module.modules import Modules

if TYPE_CHECKING:
    from kmod_emu.kernel.kernel import KernelCore

_SITE = 8  # struct static_call_site
_MASK32 = (1 << 32) - 1


@export("void __static_call_update(struct static_call_key *key, void *tramp, void *func)")
def static_call_update(kernel: KernelCore, key: int, tramp: int, func: int) -> None:
    """Let a static call go elsewhere, NULL for nowhere (kernel/static_call_inline.c)."""
    memory = kernel.memory
    memory.write_u64(key, func)
    if tramp:
        jump = b"\xe9" + (func - tramp - 5 & _MASK32).to_bytes(4, "little")
        memory.write(tramp, jump if func else b"\xc3\xcc\xcc\xcc\xcc")

    def target(pointer: int) -> int | None:
        return func if pointer & ~3 in (key, tramp) else None

    for module in kernel[Modules].known.values():
        sites = module.view
        for patch in static_calls(
            memory, sites.static_call_sites, sites.num_static_call_sites * _SITE, target
        ):
            if module.holds(patch.address):
                memory.write(patch.address, patch.code)
