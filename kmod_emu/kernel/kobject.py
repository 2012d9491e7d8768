"""Kobjects: names, parents and reference counts of things in /sys (lib/kobject.c).

`struct kobject` lies in guest memory, inside of what it stands for; drivers fill it in, walk from it to what
contains it, and are called back when the last reference goes. What /sys shows of it is kept by the fs room,
which registers itself here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from kmod_emu.abi import lists
from kmod_emu.errors import KernelError
from kmod_emu.kernel import report
from kmod_emu.kernel.exports import export
from kmod_emu.kernel.vsprintf import vsnprintf
from kmod_emu.uapi import errno

if TYPE_CHECKING:
    from kmod_emu.abi.structs import StructView
    from kmod_emu.kernel.kernel import KernelCore
    from kmod_emu.kernel.va_list import Arguments

_ALREADY = "tried to init an initialized object, something is seriously wrong."
_UNINITIALIZED = "tried to add an uninitialized object, something is seriously wrong."
_SAME_NAME = "don't try to register things with the same name in the same directory."


class Directories(Protocol):
    """What kobjects need of /sys."""

    def create_dir(self, kobj: int, name: str, parent: int) -> None:
        """A directory below that of `parent`, or at the top for 0; EEXIST if the name is taken."""

    def remove_dir(self, kobj: int) -> None:
        """Remove it with all that is in it."""

    def rename_dir(self, kobj: int, name: str) -> None:
        """Give it another name; EEXIST if that is taken."""

    def create_files(self, kobj: int, attributes: int) -> int:
        """A NULL-terminated array of attributes; 0 or a negative errno."""

    async def create_groups(self, kobj: int, groups: int) -> int:
        """Attributes of a NULL-terminated array of groups; 0 or a negative errno."""

    def path(self, kobj: int) -> str:
        """From the top of /sys: `/kernel/mine`; "" if it has no directory."""

    async def uevent(self, kobj: int, action: str) -> int:
        """Tell user space; 0 or a negative errno."""


class Kobjects:
    """The kernel's own kobjects, and the way to /sys."""

    def __init__(self, kernel: KernelCore) -> None:
        self._kernel = kernel
        self.sysfs: Directories

    def view(self, address: int) -> StructView:
        """A typed view."""
        return self._kernel.view("kobject", address)

    def name(self, address: int) -> str:
        """Its name; "(null)" if it has none yet, as printk shows it."""
        name = self.view(address).get("name")
        return self._text(name) if name else "(null)"

    def _text(self, address: int) -> str:
        return self._kernel.memory.read_text(address)

    def set_name(self, address: int, name: bytes) -> int:
        """Copy a name to the heap; 0 or a negative errno."""
        heap = self._kernel.heap
        place = heap.kmalloc(len(name) + 1)
        if not place:
            return -errno.ENOMEM
        self._kernel.memory.write(place, name.replace(b"/", b"!") + b"\0")
        view = self.view(address)
        old = view.get("name")
        if old in heap.live:
            heap.kfree(old)
        view.set("name", place)
        return 0

    def initialize(self, address: int, ktype: int) -> None:
        """The first reference (kobject_init)."""
        view = self.view(address)
        view.set("kref", 1)
        lists.init(self._kernel.memory, view.addressof("entry"))
        for bit in ("state_in_sysfs", "state_add_uevent_sent", "state_remove_uevent_sent"):
            view.set_bit(bit, False)
        view.set_bit("state_initialized", True)
        view.ktype = ktype

    def make(self, name: str, parent: int = 0, kset: int = 0, ktype: str = "dynamic_kobj_ktype") -> int:
        """One of the kernel's own, such as /sys/kernel."""
        address = self._kernel.heap.kmalloc(self._kernel.profile.struct("kobject").size)
        self.initialize(address, self._kernel.symbol(ktype))
        self.set_name(address, name.encode("utf-8", "surrogateescape"))
        view = self.view(address)
        view.parent, view.kset = self.get(parent), kset
        self.sysfs.create_dir(address, name.replace("/", "!"), parent)
        view.set_bit("state_in_sysfs", True)
        return address

    # --- in and out of /sys -----------------------------------------------------------------------------

    async def add(self, address: int) -> int:
        """Join the kset and get a directory (kobject_add_internal)."""
        view = self.view(address)
        if not view.get("name") or not self.name(address):
            text = f"kobject: ({address:016x}): attempted to be registered with empty name!"
            self._warn(text, 210, "kobject_add_internal+0x241/0x260")
            return -errno.EINVAL
        parent, kset = self.get(view.parent), view.kset
        if kset:
            inner = self._kset_kobject(kset)
            parent = parent or self.get(inner)
            self.get(inner)
            lists.add_tail(self._kernel.memory, view.addressof("entry"), kset)
        view.parent = parent
        try:
            self.sysfs.create_dir(address, self.name(address), parent)
        except KernelError as error:
            return await self._refused(address, parent, error.errno)
        view.set_bit("state_in_sysfs", True)
        result = await self._populate(address)
        if result:
            self.sysfs.remove_dir(address)
            view.set_bit("state_in_sysfs", False)
            return await self._refused(address, parent, -result)
        return 0

    async def _refused(self, address: int, parent: int, number: int) -> int:
        from kmod_emu.kernel.vsprintf import errname

        await self._leave_kset(address)
        await self.put(parent)
        self.view(address).parent = 0
        # The prefix came with the release in which class_create() lost its first argument.
        prefix = "kobject: " if "class_create" in self._kernel.profile.exports else ""
        text = f"{prefix}kobject_add_internal failed for {self.name(address)} "
        if number == errno.EEXIST:
            text += f"with -{errname(number)}, {_SAME_NAME}"
        else:
            text += (
                f"(error: -{number} parent: {self.name(parent) if parent else chr(39) + 'none' + chr(39)})"
            )
        self._kernel.printk.emit(text + "\n", 3)
        return -number

    async def _populate(self, address: int) -> int:
        """The attributes that all kobjects of the type have; 0 or a negative errno."""
        ktype = self.view(address).ktype
        if not ktype:
            return 0
        view = self._kernel.view("kobj_type", ktype)
        result = 0
        if view.has("default_attrs") and view.default_attrs:
            result = self.sysfs.create_files(address, view.default_attrs)
        if not result and view.default_groups:
            result = await self.sysfs.create_groups(address, view.default_groups)
        return result

    def _kset_kobject(self, kset: int) -> int:
        return kset + self._kernel.profile.offset("kset", "kobj")

    async def _leave_kset(self, address: int) -> None:
        view = self.view(address)
        if view.kset:
            lists.delete_init(self._kernel.memory, view.addressof("entry"))
            await self.put(self._kset_kobject(view.kset))

    async def delete(self, address: int) -> None:
        """Out of /sys, and no longer its parent's child (kobject_del)."""
        if not address:
            return
        view = self.view(address)
        parent = view.parent
        if view.bit("state_add_uevent_sent") and not view.bit("state_remove_uevent_sent"):
            await self.sysfs.uevent(address, "remove")
        self.sysfs.remove_dir(address)
        view.set_bit("state_in_sysfs", False)
        await self._leave_kset(address)
        view.parent = 0
        await self.put(parent)

    # --- references -------------------------------------------------------------------------------------

    def get(self, address: int) -> int:
        """One more reference (kobject_get)."""
        if address:
            view = self.view(address)
            if not view.bit("state_initialized"):
                self._not_initialized(address, "kobject_get")
            view.set("kref", view.get("kref") + 1)
        return address

    async def put(self, address: int) -> None:
        """One reference less; the last one calls the type's release (kobject_put)."""
        if not address:
            return
        view = self.view(address)
        if not view.bit("state_initialized"):
            self._not_initialized(address, "kobject_put")
        count = view.get("kref")
        if not 0 < count < 1 << 31:
            self._kernel.warnings.warn(
                "lib/refcount.c",
                28,
                "refcount_t: underflow; use-after-free.",
                "refcount_warn_saturate+0xba/0x110",
            )
            return
        view.set("kref", count - 1)
        if count == 1:
            await self._cleanup(address)

    async def _cleanup(self, address: int) -> None:
        view, heap = self.view(address), self._kernel.heap
        name, ktype, parent = view.get("name"), view.ktype, 0
        if view.bit("state_in_sysfs"):
            parent = self.get(view.parent)
            await self.delete(address)
        release = self._kernel.view("kobj_type", ktype).release if ktype else 0
        if release:
            await self._kernel.call_guest(release, address)
        if name in heap.live:
            heap.kfree(name)
        await self.put(parent)

    def _not_initialized(self, address: int, function: str) -> None:
        what = f"is not initialized, yet {function}() is being called."
        line, place = (632, "+0x43/0x70") if function == "kobject_get" else (726, "+0xbd/0x1d0")
        text = f"kobject: '{self.name(address)}' ({address:016x}): {what}"
        self._warn(text, line, function + place)

    def _warn(self, text: str, line: int, function: str) -> None:
        self._kernel.warnings.warn("lib/kobject.c", line, text, function)

    def complain(self, address: int, text: str) -> None:
        """An error line with a call trace."""
        self._kernel.printk.emit(f"{text}\n", 3)
        report.dump_stack(self._kernel)


def _named(kernel: KernelCore, kobj: int, fmt: int, args: Arguments) -> int:
    """kobject_set_name_vargs: a name that is there may stay if no format is given."""
    if not fmt:
        return 0 if kernel.kobjects.view(kobj).get("name") else -errno.EINVAL
    text = vsnprintf(kernel.memory.read_cstring(fmt), args, kernel.format_context)
    return kernel.kobjects.set_name(kobj, text)


@export("int kobject_set_name(struct kobject *kobj, const char *fmt, ...)")
def kobject_set_name(kernel: KernelCore, kobj: int, fmt: int, args: Arguments) -> int:
    """Name a kobject that is not in /sys yet (lib/kobject.c)."""
    return _named(kernel, kobj, fmt, args)


@export("void kobject_init(struct kobject *kobj, const struct kobj_type *ktype)")
def kobject_init(kernel: KernelCore, kobj: int, ktype: int) -> None:
    """Prepare a kobject (lib/kobject.c)."""
    kobjects = kernel.kobjects
    if not kobj or not ktype:
        what = "invalid kobject pointer!" if not kobj else "must have a ktype to be initialized properly!"
        kobjects.complain(kobj, f"kobject ({kobj:016x}): {what}")
        return
    if kobjects.view(kobj).bit("state_initialized"):
        kobjects.complain(kobj, f"kobject ({kobj:016x}): {_ALREADY}")
    kobjects.initialize(kobj, ktype)


@export("int kobject_add(struct kobject *kobj, struct kobject *parent, const char *fmt, ...)")
async def kobject_add(kernel: KernelCore, kobj: int, parent: int, fmt: int, args: Arguments) -> int:
    """Name a kobject and show it in /sys (lib/kobject.c)."""
    kobjects = kernel.kobjects
    if not kobj:
        return -errno.EINVAL
    view = kobjects.view(kobj)
    if not view.bit("state_initialized"):
        kobjects.complain(kobj, f"kobject '{kobjects.name(kobj)}' ({kobj:016x}): {_UNINITIALIZED}")
        return -errno.EINVAL
    error = _named(kernel, kobj, fmt, args)
    if error:
        kernel.printk.emit("kobject: can not set name properly!\n", 3)
        return error
    view.parent = parent
    return await kobjects.add(kobj)


@export(
    "int kobject_init_and_add(struct kobject *kobj, const struct kobj_type *ktype, struct kobject *parent, "
    "const char *fmt, ...)"
)
async def kobject_init_and_add(
    kernel: KernelCore, kobj: int, ktype: int, parent: int, fmt: int, args: Arguments
) -> int:
    """Both at once (lib/kobject.c)."""
    kobject_init(kernel, kobj, ktype)
    return await kobject_add(kernel, kobj, parent, fmt, args)


@export("struct kobject *kobject_create_and_add(const char *name, struct kobject *parent)")
async def kobject_create_and_add(kernel: KernelCore, name: bytes, parent: int) -> int:
    """A bare directory in /sys (lib/kobject.c)."""
    kobjects = kernel.kobjects
    kobj = kernel.heap.kmalloc(kernel.profile.struct("kobject").size)
    if not kobj:
        return 0
    kobjects.initialize(kobj, kernel.symbol("dynamic_kobj_ktype"))
    kobjects.set_name(kobj, name)
    kobjects.view(kobj).parent = parent
    error = await kobjects.add(kobj)
    if error:
        kernel.printk.emit(f"kobject_create_and_add: kobject_add error: {error}\n", 4)
        await kobjects.put(kobj)
        return 0
    return kobj


@export("void kobject_del(struct kobject *kobj)")
async def kobject_del(kernel: KernelCore, kobj: int) -> None:
    """Take a kobject out of /sys (lib/kobject.c)."""
    await kernel.kobjects.delete(kobj)


@export("struct kobject *kobject_get(struct kobject *kobj)")
def kobject_get(kernel: KernelCore, kobj: int) -> int:
    """One more reference (lib/kobject.c)."""
    return kernel.kobjects.get(kobj)


@export("struct kobject *kobject_get_unless_zero(struct kobject *kobj)")
def kobject_get_unless_zero(kernel: KernelCore, kobj: int) -> int:
    """One more reference, if there still is one (lib/kobject.c)."""
    return kernel.kobjects.get(kobj) if kobj and kernel.kobjects.view(kobj).get("kref") else 0


@export("void kobject_put(struct kobject *kobj)")
async def kobject_put(kernel: KernelCore, kobj: int) -> None:
    """One reference less (lib/kobject.c)."""
    await kernel.kobjects.put(kobj)


@export("int kobject_rename(struct kobject *kobj, const char *new_name)")
def kobject_rename(kernel: KernelCore, kobj: int, new_name: bytes) -> int:
    """Another name (lib/kobject.c)."""
    if not kobj or not kernel.kobjects.view(kobj).parent:
        return -errno.EINVAL
    kernel.kobjects.sysfs.rename_dir(kobj, new_name.decode("utf-8", "surrogateescape"))
    return kernel.kobjects.set_name(kobj, new_name)


@export("char *kobject_get_path(const struct kobject *kobj, gfp_t gfp_mask)")
def kobject_get_path(kernel: KernelCore, kobj: int, gfp_mask: int) -> int:
    """A new string with the names of all parents (lib/kobject.c)."""
    names = []
    while kobj:
        names.append(kernel.kobjects.name(kobj))
        kobj = kernel.kobjects.view(kobj).parent
    path = "".join(f"/{name}" for name in reversed(names)).encode("utf-8", "surrogateescape") + b"\0"
    place = kernel.heap.kmalloc(len(path))
    if place:
        kernel.memory.write(place, path)
    return place
