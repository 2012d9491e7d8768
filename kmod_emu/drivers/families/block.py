"""Majors of block devices (block/genhd.c): a number is taken and shown; disks are not imitated."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.drivers.registration import Family, Registrations
from kmod_emu.kernel.exports import Fidelity, export
from kmod_emu.uapi import errno

if TYPE_CHECKING:
    from kmod_emu.kernel.kernel import KernelCore

_HASH_SIZE, _MAX = 255, 512
_MAJOR = Family("block device major", "")
_OWN = {259: "blkext"}


def majors(kernel: KernelCore) -> dict[int, str]:
    """Who has which, in the order of /proc/devices."""
    known = _OWN | {address: str(name) for address, name in kernel[Registrations].of(_MAJOR.kind)}
    return dict(sorted(known.items()))


@export(
    "int __register_blkdev(unsigned int major, const char *name, void (*probe)(dev_t devt))",
    Fidelity.REGISTRATION,
)
def __register_blkdev(kernel: KernelCore, major: int, name: str, probe: int) -> int:
    """A major; the highest free one for 0, which is then the answer."""
    taken = majors(kernel)
    wanted = major
    if not major:
        wanted = next((number for number in range(_HASH_SIZE - 1, 0, -1) if number not in taken), 0)
        if not wanted:
            kernel.printk.emit(f"register_blkdev: failed to get major for {name}\n", 4)
            return -errno.EBUSY
    if wanted >= _MAX:
        text = f"register_blkdev: major requested ({major}) is greater than"
        text += f" the maximum ({_MAX - 1}) for {name}"
        kernel.printk.emit(f"{text}\n", 3)
        return -errno.EINVAL
    if wanted in taken:
        kernel.printk.emit(f"register_blkdev: cannot get major {wanted} for {name}\n", 4)
        return -errno.EBUSY
    kernel[Registrations].put(_MAJOR.kind, wanted, name, (), 0)
    return 0 if major else wanted


@export("void unregister_blkdev(unsigned int major, const char *name)", Fidelity.REGISTRATION)
def unregister_blkdev(kernel: KernelCore, major: int, name: str) -> None:
    """It is free again."""
    if majors(kernel).get(major) != name or major in _OWN:
        kernel.warnings.warn("block/genhd.c", 309, "", "unregister_blkdev+0x8f/0xa0")
        return
    kernel[Registrations].remove(_MAJOR, major)
