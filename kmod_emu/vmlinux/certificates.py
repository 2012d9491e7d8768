"""The keys that a kernel was built to trust (certs/system_keyring.c: load_system_certificate_list)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.abi.der import SEQUENCE, BadMessage, elements

if TYPE_CHECKING:
    from kmod_emu.vmlinux.kallsyms import Kallsyms
    from kmod_emu.vmlinux.vmlinux import Vmlinux

__all__ = ["certificates"]


def certificates(kernel: Vmlinux, symbols: Kallsyms) -> list[bytes]:
    """X.509 certificates as DER; none where the kernel has no list, or one that makes no sense."""
    start = symbols.address("system_certificate_list")
    size_at = symbols.address("system_certificate_list_size")
    if start is None or size_at is None:
        return []
    try:
        size = int.from_bytes(kernel.read(size_at, 8), "little")
        return [element.raw for element in elements(kernel.read(start, size)) if element.tag == SEQUENCE]
    except (KeyError, BadMessage):
        return []
