"""Input devices in /sys and /proc/bus/input, and what udev is told of them (drivers/input/input.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.drivers.attributes import define_class, fill_attribute
from kmod_emu.drivers.input import Inputs, release_keys
from kmod_emu.drivers.input_bits import CODES, EV_CNT, Bits
from kmod_emu.fs.tree import Node, directory
from kmod_emu.fs.uevent import add_variable
from kmod_emu.kernel.exports import export, export_data
from kmod_emu.uapi import errno

if TYPE_CHECKING:
    from kmod_emu.abi.structs import StructView
    from kmod_emu.kernel.kernel import KernelCore

_IDS = ("bustype", "vendor", "product", "version")
# Bitmaps as /sys, /proc and messages name them; EV comes first, the others where the device has such events.
_MAPS = {"PROP": "propbit", "EV": "evbit", "KEY": "keybit", "REL": "relbit", "ABS": "absbit", "MSC": "mscbit",
         "LED": "ledbit", "SND": "sndbit", "FF": "ffbit", "SW": "swbit"}  # fmt: skip
_LETTERS = {"swbit": "w"}  # of the others the first
_FIRST_INTERESTING_KEY = 0x71


def _id(view: StructView) -> dict[str, int]:
    raw = view.bytes("id")
    return {name: int.from_bytes(raw[2 * n : 2 * n + 2], "little") for n, name in enumerate(_IDS)}


def _text(view: StructView, member: str) -> str:
    address = view.get(member)
    return view.memory.read_text(address) if address else ""


def _maps(view: StructView) -> dict[str, str]:
    """The bitmaps that are worth telling."""
    bits = Bits(view)
    kinds = {member: kind for kind, (member, _) in CODES.items()}
    return {
        name: bits.words(member)
        for name, member in _MAPS.items()
        if member not in kinds or bits.test("evbit", kinds[member])
    }


def modalias(view: StructView) -> str:
    """How a module's table names the device: input:b0003v046Dp...-e0,1,k71,..."""
    ids, bits = _id(view), Bits(view)
    text = "input:" + "".join(f"{letter}{ids[name]:04X}" for letter, name in zip("bvpe", _IDS, strict=True))
    text += "-e" + "".join(f"{kind:X}," for kind in range(EV_CNT) if bits.test("evbit", kind))
    lasts = dict(CODES.values())
    for member in ("keybit", "relbit", "absbit", "mscbit", "ledbit", "sndbit", "ffbit", "swbit"):
        first = _FIRST_INTERESTING_KEY if member == "keybit" else 0
        codes = (code for code in range(first, lasts[member] + 1) if bits.test(member, code))
        text += _LETTERS.get(member, member[0]) + "".join(f"{code:X}," for code in codes)
    return text


# --- /sys -----------------------------------------------------------------------------------------------

_MAPPED = tuple(f"capabilities/{name.lower()}" for name in _MAPS if name != "PROP")
_FILES = ("name", "phys", "uniq", "modalias", "properties", *(f"id/{name}" for name in _IDS), *_MAPPED,
          "inhibited")  # fmt: skip


def _shown(view: StructView, file: str) -> str:
    bits, (group, _, name) = Bits(view), file.rpartition("/")
    if group == "id":
        return f"{_id(view)[name]:04x}"
    if group == "capabilities":
        return bits.words(_MAPS[name.upper()])
    if file in ("name", "phys", "uniq"):
        return _text(view, file)
    if file == "inhibited":
        return str(view.inhibited)
    return modalias(view) if file == "modalias" else bits.words("propbit")


_GROUPS = ("", "id", "capabilities")
_ATTRIBUTES_SIZE = 64 * len(_FILES)


@export_data("struct device_attribute input_attrs[]", _ATTRIBUTES_SIZE)
def input_attrs(kernel: KernelCore, address: int) -> None:
    """The files of an input device, 64 bytes each: the attribute, and its name behind it."""
    for index, file in enumerate(_FILES):
        view = kernel.view("device_attribute", address + 64 * index)
        fill_attribute(kernel, view, file.rpartition("/")[2], 0o444, "input_attr_show")
        if file == "inhibited":
            kernel.view("attribute", view.address).mode = 0o644
            view.store = kernel.symbol("inhibited_store")


@export_data("const struct attribute_group *input_dev_attr_groups[]", 1024)
def input_dev_attr_groups(kernel: KernelCore, address: int) -> None:
    """The groups that they are in: pointers, then for each the group, its name and its attributes."""
    inhibits = kernel.view("input_dev", 0).has("inhibited")
    place = address + 8 * (len(_GROUPS) + 1)
    for number, name in enumerate(_GROUPS):
        group = kernel.view("attribute_group", place)
        kernel.memory.write_u64(address + 8 * number, place)
        kernel.memory.write(place + group.layout.size, name.encode())
        group.set("name", place + group.layout.size if name else 0)
        place += group.layout.size + 16
        group.attrs = place
        for index, file in enumerate(_FILES):
            if file.rpartition("/")[0] == name and (file != "inhibited" or inhibits):
                kernel.memory.write_u64(place, kernel.symbol("input_attrs") + 64 * index)
                place += 8
        place += 8


@export("ssize_t input_attr_show(struct device *dev, struct device_attribute *attr, char *buf)")
def input_attr_show(kernel: KernelCore, dev: int, attr: int, buf: int) -> int:
    """Read one."""
    inputs = kernel[Inputs]
    file = _FILES[(attr - kernel.symbol("input_attrs")) // 64]
    raw = (_shown(inputs.view(inputs.of_device(dev)), file) + "\n").encode("utf-8", "surrogateescape")
    kernel.memory.write(buf, raw + b"\0")
    return len(raw)


@export(
    "ssize_t inhibited_store(struct device *dev, struct device_attribute *attr, const char *buf, size_t len)"
)
async def inhibited_store(kernel: KernelCore, dev: int, attr: int, buf: int, len: int) -> int:
    """`inhibited`: 1 closes the device and drops its events, 0 opens it again."""
    view = kernel[Inputs].view(kernel[Inputs].of_device(dev))
    text = kernel.memory.read_text(buf)
    if text[:1] not in tuple("01yYnN"):
        return -errno.EINVAL
    inhibit = text[0] in "1yY"
    if inhibit and not view.inhibited:
        if view.users and view.close:
            await kernel.call_guest(view.close, view.address)
        await release_keys(kernel, view)
    error = 0
    if not inhibit and view.inhibited and view.users and view.open:
        error = await kernel.call_guest_int(view.open, view.address)
    if error:
        return error
    view.inhibited = int(inhibit)
    return len


# --- messages to udev -----------------------------------------------------------------------------------


@export("int input_dev_uevent(struct device *device, struct kobj_uevent_env *env)")
def input_dev_uevent(kernel: KernelCore, device: int, env: int) -> int:
    """What messages say of an input device."""
    view = kernel[Inputs].view(kernel[Inputs].of_device(device))
    ids = _id(view)
    facts = {"PRODUCT": "/".join(f"{ids[name]:x}" for name in _IDS)} if ids["bustype"] else {}
    for member in ("name", "phys", "uniq"):
        if view.get(member):
            facts[member.upper()] = f'"{_text(view, member)}"'
    message = kernel.view("kobj_uevent_env", env)
    for name, value in (facts | _maps(view)).items():
        add_variable(kernel, message, f"{name}={value}".encode("utf-8", "surrogateescape"))
    alias = f"MODALIAS={modalias(view)}".encode()
    if message.buflen + len(alias) >= len(message.bytes("buf")):
        return -errno.ENOMEM  # silently, and then the message is not sent
    add_variable(kernel, message, alias)
    return 0


@export("char *input_devnode(struct device *dev, umode_t *mode)")
def input_devnode(kernel: KernelCore, dev: int, mode: int) -> int:
    """Nodes lie in /dev/input."""
    raw = f"input/{kernel.kobjects.name(dev)}".encode() + b"\0"
    place = kernel.heap.kmalloc(len(raw))
    kernel.memory.write(place, raw)
    return place


define_class("input", "input_devnode")


@export_data("struct device_type input_dev_type", 64)
def input_dev_type(kernel: KernelCore, address: int) -> None:
    """Type of input devices."""
    view = kernel.view("device_type", address)
    view.release, view.uevent = kernel.symbol("input_dev_release"), kernel.symbol("input_dev_uevent")
    view.groups = kernel.symbol("input_dev_attr_groups")


# --- /proc/bus/input ------------------------------------------------------------------------------------


def proc_directory(kernel: KernelCore) -> Node:
    """/proc/bus/input."""
    return directory(
        {
            "devices": Node(0o444, read=lambda task: _proc_devices(kernel)),
            "handlers": Node(0o444, read=lambda task: _proc_handlers(kernel)),
        }
    )


def _proc_devices(kernel: KernelCore) -> str:
    return "".join(_proc_device(kernel, kernel[Inputs].view(dev)) for dev in kernel[Inputs].devices)


def _proc_device(kernel: KernelCore, view: StructView) -> str:
    ids = _id(view)
    numbers = " ".join(f"{name.capitalize().replace('type', '')}={ids[name]:04x}" for name in _IDS)
    handlers = [_text(handle, "name") + " " for handle in kernel[Inputs].handles(view.address)]
    lines = [
        f"I: {numbers}",
        f'N: Name="{_text(view, "name")}"',
        f"P: Phys={_text(view, 'phys')}",
        f"S: Sysfs={kernel.kobjects.sysfs.path(view.addressof('dev'))}",
        f"U: Uniq={_text(view, 'uniq')}",
        f"H: Handlers={''.join(handlers)}",
        *(f"B: {name}={words}" for name, words in _maps(view).items()),
    ]
    return "\n".join([*lines, "", ""])


def _proc_handlers(kernel: KernelCore) -> str:
    text = ""
    for number, address in enumerate(kernel[Inputs].handlers):
        view = kernel.view("input_handler", address)
        text += f"N: Number={number} Name={_text(view, 'name')}"
        text += " (filter)" if view.filter else ""
        text += f" Minor={view.minor}\n" if view.legacy_minors else "\n"
    return text
