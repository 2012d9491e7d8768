"""usbcore: loading it, and the structures that it has in common with controllers.

They are in the BTF of the module, which stands on the kernel's; where modules have none, in the kernel's.
"""

from __future__ import annotations

import glob
import os
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from kmod_emu.abi.btf import BadBtf, Btf
from kmod_emu.abi.structs import StructView
from kmod_emu.module.kmod import Kmod
from kmod_emu.vmlinux.image import decompress

if TYPE_CHECKING:
    from kmod_emu.abi.layout import StructLayout
    from kmod_emu.vmlinux.kernel import VmlinuxKernel

_MODULES = ("usb-common", "usbcore")  # the first serves the second
_ENTRY = "usb_create_hcd"


class UsbTypes:
    """Layouts, found when they are asked for."""

    def __init__(self, kernel: VmlinuxKernel) -> None:
        self._kernel = kernel
        self._btf: Btf | None = None
        self._layouts: dict[str, StructLayout] = {}

    def load(self) -> None:
        """Have usbcore in the machine.

        Raises:
            ValueError: Its file is not there.
            KernelError: It cannot be loaded.
        """
        if not self._kernel.lookup_name(_ENTRY):
            loaded = {module.name for module in self._kernel.modules}
            for name in _MODULES:
                if name.replace("-", "_") not in loaded:
                    self._kernel.insmod(self._contents(name))

    def _contents(self, name: str) -> bytes:
        kernel = self._kernel
        directory = kernel[Kmod].directory or f"/lib/modules/{kernel.profile.release}"
        pattern = os.path.join(glob.escape(directory), "kernel", "drivers", "usb", "*", f"{name}.ko*")
        found = sorted(glob.glob(pattern))
        if not found:
            raise ValueError(f"USB is the module usbcore: {directory} has no {name} (--modules DIR)")
        contents = Path(found[0]).read_bytes()
        suffix = found[0].rpartition(".")[2]
        return contents if suffix == "ko" else decompress(contents, suffix)

    def layout(self, name: str) -> StructLayout:
        """The layout of a structure.

        Raises:
            ValueError: It is not known.
        """
        if name not in self._layouts:
            found = self._types().layout(name)
            if found is None:
                raise ValueError(f"usbcore's BTF has no struct {name}")
            self._layouts[name] = found
        return self._layouts[name]

    def view(self, name: str, address: int) -> StructView:
        """A typed view on one."""
        return StructView(self._kernel.memory, self.layout(name), address)

    def _types(self) -> Btf:
        if self._btf is None:
            from elftools.elf.elffile import ELFFile

            section = ELFFile(BytesIO(self._contents(_MODULES[-1]))).get_section_by_name(".BTF")
            try:
                own = Btf(section.data(), self._kernel.types) if section else self._kernel.types
            except BadBtf as error:
                raise ValueError(f"usbcore: {error}") from None
            if own is None:
                raise ValueError("neither usbcore nor the kernel has BTF: USB's structures are not known")
            self._btf = own
        return self._btf
