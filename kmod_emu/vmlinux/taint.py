"""The taint flags of a kernel that keeps them itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.kernel.taint import KernelTaint

if TYPE_CHECKING:
    from kmod_emu.kernel.kernel import KernelCore


class VmlinuxTaint(KernelTaint):
    """Its flags are the kernel's `tainted_mask`, which its own code sets too."""

    def __init__(self, kernel: KernelCore) -> None:
        self._place = kernel.symbol("tainted_mask")
        super().__init__(kernel)

    @property
    def mask(self) -> int:
        """The flags."""
        return self._kernel.memory.read_u64(self._place)

    @mask.setter
    def mask(self, mask: int) -> None:
        self._kernel.memory.write_u64(self._place, mask)
