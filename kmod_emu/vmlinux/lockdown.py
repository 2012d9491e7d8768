"""Lockdown as the kernel itself keeps it: our loader asks what its own would."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kmod_emu.kernel.lockdown import Level, Lockdown

if TYPE_CHECKING:
    from kmod_emu.kernel.kernel import KernelCore


class VmlinuxLockdown(Lockdown):
    """The kernel's variable, which its boot option and securityfs set; from 1 on it restricts modules."""

    def __init__(self, kernel: KernelCore) -> None:
        self._kernel = kernel

    @property
    def level(self) -> Level:  # type: ignore[override]  # the kernel sets it
        """How far it is locked down, as far as modules are concerned."""
        if not self._kernel.symbols.internal("kernel_locked_down"):
            return Level.NONE
        locked = self._kernel.memory.read_u32(self._kernel.symbol("kernel_locked_down"))
        return Level.INTEGRITY if locked else Level.NONE

    def boot(self) -> None:
        """The kernel reads its boot options."""

    def save(self) -> Any:
        """It is in memory."""

    def load(self, state: Any) -> None:
        """It is in memory."""
