"""Classes that show what other devices are connected by (drivers/base/transport_class.c).

Their classes are real; devices that appear later do not get the attributes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.drivers.core import Devices
from kmod_emu.drivers.registration import Family, declare
from kmod_emu.kernel.exports import Fidelity, export
from kmod_emu.kernel.standin import declare_answers

if TYPE_CHECKING:
    from kmod_emu.kernel.kernel import KernelCore

declare(
    __name__,
    Family(
        "class of nobody's devices",
        "int anon_transport_class_register(struct anon_transport_class *atc)",
        "void anon_transport_class_unregister(struct anon_transport_class *atc)", taken=0,
    ),
    Family(
        "container of attributes", "int attribute_container_register(struct attribute_container *cont)",
        "int attribute_container_unregister(struct attribute_container *cont)", taken=0,
    ),
)  # fmt: skip


@export("int transport_class_register(struct transport_class *tclass)", Fidelity.REGISTRATION)
async def transport_class_register(kernel: KernelCore, tclass: int) -> int:
    """A class in /sys/class: it is the first member."""
    return await kernel[Devices].register_class(tclass)


@export("void transport_class_unregister(struct transport_class *tclass)", Fidelity.REGISTRATION)
async def transport_class_unregister(kernel: KernelCore, tclass: int) -> None:
    """It goes."""
    await kernel[Devices].unregister_class(tclass)


declare_answers(
    __name__,
    {
        f"{returns} transport_{step}_device(struct device *dev)": 0
        for step, returns in {
            "setup": "void", "add": "int", "configure": "void", "remove": "void", "destroy": "void",
        }.items()
    },
    Fidelity.REGISTRATION,
)  # fmt: skip
