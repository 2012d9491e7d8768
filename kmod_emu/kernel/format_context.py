"""What printk's format language asks of the kernel: symbols, pointer hashing, struct layouts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.kernel.printf_spec import KptrView, NotSupported, Symbol
from kmod_emu.kernel.tasks import CAP_SYSLOG

if TYPE_CHECKING:
    from kmod_emu.kernel.kernel import KernelCore
    from kmod_emu.machine.memory import Memory

_HASH_KEY = b"kmod-emu pointers"  # one key for all machines: the same pointer prints the same every time


class FormatContext:
    """Implements `vsprintf.Context` for a running kernel."""

    def __init__(self, kernel: KernelCore) -> None:
        self._kernel = kernel
        self.nested = 0

    @property
    def memory(self) -> Memory:
        """Guest memory."""
        return self._kernel.memory

    def symbolize(self, address: int) -> Symbol | None:
        """The symbol that holds an address."""
        location = self._kernel.locate(address)
        return Symbol(*location) if location else None

    def hash_pointer(self, value: int) -> int:
        """What `%p` prints: 32 bits that say nothing about the address."""
        import hashlib

        digest = hashlib.blake2s(value.to_bytes(8, "little"), key=_HASH_KEY, digest_size=4).digest()
        return int.from_bytes(digest, "little")

    def kptr_visible(self) -> KptrView:
        """`%pK`: as the sysctl kptr_restrict says."""
        restricted = self._kernel.sysctl["kptr_restrict"]
        if restricted == 0:
            return KptrView.HASHED
        if restricted == 1 and self._kernel.sched.current.capable(CAP_SYSLOG):
            return KptrView.REAL
        return KptrView.ZERO

    def member(self, struct: str, name: str) -> int:
        """Offset of a struct member in the running release."""
        try:
            return self._kernel.profile.offset(struct, name)
        except KeyError as missing:
            raise NotSupported(str(missing)) from None
