"""The files and events that all devices have: `dev`, `uevent` (drivers/base/core.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.drivers.core import Devices
from kmod_emu.fs.uevent import add_variable, read_variables, synthesize
from kmod_emu.kernel.activation import to_int
from kmod_emu.kernel.exports import export, export_data
from kmod_emu.uapi.stat import major, minor

if TYPE_CHECKING:
    from kmod_emu.abi.structs import StructView
    from kmod_emu.kernel.kernel import KernelCore


def _put(kernel: KernelCore, buf: int, text: str) -> int:
    raw = text.encode("utf-8", "surrogateescape")
    kernel.memory.write(buf, raw + b"\0")
    return len(raw)


@export("ssize_t dev_show(struct device *dev, struct device_attribute *attr, char *buf)")
def dev_show(kernel: KernelCore, dev: int, attr: int, buf: int) -> int:
    """`dev`: its number."""
    devt = kernel.view("device", dev).devt
    return _put(kernel, buf, f"{major(devt)}:{minor(devt)}\n")


@export("ssize_t uevent_show(struct device *dev, struct device_attribute *attr, char *buf)")
async def uevent_show(kernel: KernelCore, dev: int, attr: int, buf: int) -> int:
    """`uevent`: what a message about it would say."""
    env = kernel.heap.kmalloc(kernel.profile.struct("kobj_uevent_env").size)
    error = await dev_uevent(kernel, dev, env)
    variables = read_variables(kernel, env)
    kernel.heap.kfree(env)
    return error or _put(kernel, buf, "".join(f"{name}={value}\n" for name, value in variables.items()))


@export(
    "ssize_t uevent_store(struct device *dev, struct device_attribute *attr, const char *buf, size_t count)"
)
def uevent_store(kernel: KernelCore, dev: int, attr: int, buf: int, count: int) -> int:
    """Writing an action to `uevent` sends a message."""
    path = kernel.kobjects.sysfs.path(dev)
    synthesize(kernel, path, _subsystem(kernel, dev), kernel.memory.read(buf, count))
    return count


def _subsystem(kernel: KernelCore, dev: int) -> str:
    cls = kernel.view("device", dev).get("class")
    return kernel[Devices].class_name(cls) if cls else ""


@export("int dev_uevent_filter(struct kobject *kobj)")
def dev_uevent_filter(kernel: KernelCore, kobj: int) -> int:
    """Devices of a class or bus are told of."""
    view = kernel.view("device", kobj)
    return int(bool(view.get("class") or view.bus))


@export("const char *dev_uevent_name(struct kobject *kobj)")
def dev_uevent_name(kernel: KernelCore, kobj: int) -> int:
    """SUBSYSTEM: the bus's or class's name."""
    view = kernel.view("device", kobj)
    if view.bus:
        return kernel.view("bus_type", view.bus).get("name")
    return kernel.view("class", view.get("class")).get("name") if view.get("class") else 0


@export("int dev_uevent(struct kobject *kobj, struct kobj_uevent_env *env)")
async def dev_uevent(kernel: KernelCore, kobj: int, env: int) -> int:
    """What messages say of every device; then its class and type add theirs."""
    view, message = kernel.view("device", kobj), kernel.view("kobj_uevent_env", env)
    facts: dict[str, str] = {}
    if major(view.devt):
        name, mode = await kernel[Devices].devnode(kobj)
        facts = {"MAJOR": str(major(view.devt)), "MINOR": str(minor(view.devt)), "DEVNAME": name}
        if mode:
            facts["DEVMODE"] = f"0{mode:o}"
    kind, cls = view.get("type"), view.get("class")
    if kind and (name := kernel[Devices].text(kernel.view("device_type", kind).get("name"))):
        facts["DEVTYPE"] = name
    if view.driver:
        facts["DRIVER"] = kernel[Devices].text(kernel.view("device_driver", view.driver).get("name"))
    for fact, value in facts.items():
        add_variable(kernel, message, f"{fact}={value}".encode("utf-8", "surrogateescape"))
    methods = [kernel.view("bus_type", view.bus).uevent] if view.bus else []
    methods += [kernel.view("class", cls).dev_uevent] if cls else []
    methods += [kernel.view("device_type", kind).uevent] if kind else []
    for method in methods:
        if method and (error := to_int(await kernel.call_guest(method, kobj, env))):
            return error
    return 0


def define_ops(name: str, size: int, *symbols: str) -> None:
    """A table of functions of the kernel's own."""

    @export_data(name, size)
    def table(kernel: KernelCore, address: int) -> None:
        """See above."""
        for index, symbol in enumerate(symbols):
            kernel.memory.write_u64(address + 8 * index, kernel.symbol(symbol) if symbol else 0)


define_ops(
    "const struct kset_uevent_ops device_uevent_ops", 24, "dev_uevent_filter", "dev_uevent_name", "dev_uevent"
)
define_ops("const struct sysfs_ops dev_sysfs_ops", 16, "dev_attr_show", "dev_attr_store")
define_ops("const struct sysfs_ops class_sysfs_ops", 16, "class_attr_show", "class_attr_store")


def define_type(name: str, release: str, ops: str) -> None:
    """A type of kobjects of the driver core's."""

    @export_data(f"struct kobj_type {name}", 64)
    def ktype(kernel: KernelCore, address: int) -> None:
        """See above."""
        view = kernel.view("kobj_type", address)
        view.release, view.sysfs_ops = kernel.symbol(release), kernel.symbol(ops)


define_type("device_ktype", "device_release", "dev_sysfs_ops")
define_type("class_ktype", "class_release", "class_sysfs_ops")


def fill_attribute(
    kernel: KernelCore, view: StructView, name: str, mode: int, show: str, store: str = ""
) -> None:
    """Fill in an attribute; its name is put behind it."""
    text = view.address + view.layout.size
    kernel.memory.write(text, name.encode() + b"\0")
    inner = kernel.view("attribute", view.address)
    inner.set("name", text)
    inner.mode = mode
    view.show = kernel.symbol(show) if show else 0
    view.store = kernel.symbol(store) if store else 0


def define_attribute(symbol: str, name: str, mode: int, show: str, store: str = "") -> None:
    """An attribute that all devices, drivers or buses have; its name lies behind it."""

    @export_data(f"struct device_attribute {symbol}", 64)
    def attribute(kernel: KernelCore, address: int) -> None:
        """See above; all kinds of attributes are laid out alike."""
        fill_attribute(kernel, kernel.view("device_attribute", address), name, mode, show, store)


def define_device_type(name: str, release: str, uevent: str, files: dict[str, tuple[int, str, str]]) -> None:
    """A type of devices with a group of files (mode, show, store): all that it points to lies behind it."""

    @export_data(f"struct device_type {name}", 512)
    def device_type(kernel: KernelCore, address: int) -> None:
        """See above."""
        view = kernel.view("device_type", address)
        view.release = kernel.symbol(release) if release else 0
        view.uevent = kernel.symbol(uevent) if uevent else 0
        view.groups = groups = address + 64
        group = kernel.view("attribute_group", groups + 16)
        kernel.memory.write_u64(groups, group.address)
        group.attrs = pointers = groups + 80
        for index, (file, (mode, show, store)) in enumerate(files.items()):
            attribute = kernel.view("device_attribute", address + 256 + 64 * index)
            fill_attribute(kernel, attribute, file, mode, show, store)
            kernel.memory.write_u64(pointers + 8 * index, attribute.address)


def define_class(name: str, devnode: str = "") -> None:
    """A class of the kernel's own, as the symbol `NAME_class`; its name lies behind it."""

    @export_data(f"struct class {name}_class", lambda kernel: kernel.profile.struct("class").size + 16)
    def cls(kernel: KernelCore, address: int) -> None:
        """See above."""
        view = kernel.view("class", address)
        kernel.memory.write(address + view.layout.size, name.encode() + b"\0")
        view.set("name", address + view.layout.size)
        view.devnode = kernel.symbol(devnode) if devnode else 0


define_attribute("dev_attr_dev", "dev", 0o444, "dev_show")
define_attribute("dev_attr_uevent", "uevent", 0o644, "uevent_show", "uevent_store")
