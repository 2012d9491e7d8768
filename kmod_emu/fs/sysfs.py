"""/sys as kobjects make it: directories, attributes, groups, links (fs/sysfs/dir.c, file.c).

What is kept is which attribute structs of the guest's are where. Reading one calls the `show` of its
kobject's type, in guest code, with a page of zeros.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kmod_emu.errors import KernelError
from kmod_emu.fs.file import DEFAULT_POLLMASK, EPOLLERR, EPOLLPRI, BufferedOperations
from kmod_emu.fs.select import WaitQueue
from kmod_emu.fs.sysfs_group import create_groups, sysfs_create_files
from kmod_emu.fs.tree import Node, NodeOperations, directory
from kmod_emu.fs.uevent import send_uevent
from kmod_emu.kernel import report
from kmod_emu.kernel.activation import to_long
from kmod_emu.machine.memory import PAGE_SIZE
from kmod_emu.uapi import errno

if TYPE_CHECKING:
    from collections.abc import Callable

    from kmod_emu.fs.file import File
    from kmod_emu.fs.select import Poll
    from kmod_emu.kernel.kernel import KernelCore
    from kmod_emu.kernel.tasks import Task

_MODE = 0o777
OWN = ("kernel", "fs", "firmware", "power", "kernel/mm")  # kobjects of the kernel's that modules may import


class Attribute:
    """A file in /sys: a `struct attribute`, or a `struct bin_attribute`, of the guest's.

    Attributes:
        address: Of the struct; it begins with a `struct attribute` either way.
        mode: Permission bits, which may differ from the struct's (attribute groups).
        binary: Whether it is a bin_attribute.
        event: How often sysfs_notify() said that its value changed, and one.
        pollers: Who waits for the next time.
    """

    __slots__ = ("address", "binary", "event", "mode", "pollers")

    def __init__(self, address: int, mode: int, *, binary: bool = False) -> None:
        self.address, self.mode, self.binary = address, mode, binary
        self.event, self.pollers = 1, WaitQueue()

    def chmod(self, mode: int) -> None:
        """A process changed its permissions."""
        self.mode = mode


class Directory:
    """A directory of a kobject's, or one that the kernel made for itself.

    Attributes:
        kobj: Address of the kobject, 0 for none.
        files: Its attributes, by name.
        groups: Attributes in directories of their own, by name of the group.
        links: Symbolic links to other kobjects' directories: name -> kobject.
        children: Directories of kobjects below.
        computed: Lists more, anew each time: what other rooms show here.
    """

    def __init__(self, name: str, parent: Directory | None, kobj: int = 0) -> None:
        self.name, self.parent, self.kobj = name, parent, kobj
        self.files: dict[str, Attribute] = {}
        self.groups: dict[str, dict[str, Attribute]] = {}
        self.links: dict[str, int] = {}
        self.children: dict[str, Directory] = {}
        self.computed: Callable[[], dict[str, Node]] = dict

    @property
    def path(self) -> str:
        """From the top of /sys: `/kernel/mine`."""
        if self.parent is None:
            return ""
        return f"{self.parent.path}/{self.name}"

    def child(self, name: str) -> Directory:
        """A directory without a kobject in this one, made if it is not there."""
        if name not in self.children:
            self.children[name] = Directory(name, self)
        return self.children[name]

    def has(self, name: str) -> bool:
        """Whether the name is taken."""
        stored = (self.files, self.groups, self.links, self.children)
        return any(name in names for names in stored) or name in self.computed()


class Sysfs:
    """The tree, and which directory belongs to which kobject."""

    def __init__(self, kernel: KernelCore) -> None:
        self._kernel = kernel
        self.root = Directory("", None)
        self.of: dict[int, Directory] = {}
        self.debug: dict[str, Node] = {}  # what the kernel itself has in /sys/kernel/debug
        self.kernel: dict[str, Node] = {}  # and what other rooms show in /sys/kernel
        self.node = directory(lambda: self._list(self.root), strict=True)
        kernel.kobjects.sysfs = self
        for path in OWN:
            name = path.rpartition("/")[2]
            parent = self.make(path.rpartition("/")[0]).kobj if "/" in path else 0
            kernel.memory.write_u64(kernel.symbol(f"{name}_kobj"), kernel.kobjects.make(name, parent))

    # --- directories --------------------------------------------------------------------------------

    def make(self, path: str, kobj: int = 0) -> Directory:
        """A directory of the kernel's own, with its parents."""
        place = self.root
        for name in path.strip("/").split("/"):
            place = place.child(name)
        if kobj:
            place.kobj = kobj
            self.of[kobj] = place
        return place

    def create_dir(self, kobj: int, name: str, parent: int) -> None:
        """A directory for a kobject; EEXIST if its parent has that name."""
        above = self.of.get(parent, self.root) if parent else self.root
        self._refuse_duplicate(above, name)
        self._insert(above, name, kobj)

    def create_mount_point(self, parent: int, name: str) -> None:
        """An empty directory in a kobject's; EEXIST if its name is taken."""
        above = self.at(parent)
        self._refuse_duplicate(above, name)
        above.child(name)

    def _insert(self, above: Directory, name: str, kobj: int) -> None:
        self.of[kobj] = above.children[name] = Directory(name, above, kobj)
        self._kernel.view("kobject", kobj).sd = kobj  # only ever compared with NULL

    def remove_dir(self, kobj: int) -> None:
        """Remove a kobject's directory and all below it."""
        place = self.of.get(kobj)
        if place is None:
            return
        for child in list(place.children.values()):
            self.of.pop(child.kobj, None)
        del self.of[kobj]
        self._kernel.view("kobject", kobj).sd = 0
        if place.parent is not None:
            place.parent.children.pop(place.name, None)

    def adopt(self, kobj: int, name: str, parent: str) -> None:
        """A directory for a kobject that has none of a driver's types: a module's, which is computed."""
        kobjects, above = self._kernel.kobjects, self.make(parent)
        kobjects.initialize(kobj, 0)
        kobjects.set_name(kobj, name.encode("utf-8", "surrogateescape"))
        kobjects.view(kobj).set_bit("state_in_sysfs", True)
        self._insert(above, name, kobj)

    def disown(self, kobj: int) -> None:
        """Take back what `adopt` did."""
        if kobj in self.of:
            self.remove_dir(kobj)
            self._kernel.heap.kfree(self._kernel.kobjects.view(kobj).get("name"))

    def rename_dir(self, kobj: int, name: str) -> None:
        """Another name for a kobject's directory; EEXIST if it is taken."""
        place = self.of[kobj]
        above = place.parent
        assert above is not None
        self._refuse_duplicate(above, name)
        del above.children[place.name]
        place.name = name
        above.children[name] = place

    def warn_dup(self, path: str) -> None:
        """Say that a name is taken, and who wanted it (fs/sysfs/dir.c: sysfs_warn_dup)."""
        self._kernel.printk.emit(f"sysfs: cannot create duplicate filename '{path}'\n", 4)
        report.dump_stack(self._kernel)

    def _refuse_duplicate(self, place: Directory, name: str) -> None:
        """EEXIST, with the warning, if a directory has a name already."""
        if place.has(name):
            self.warn_dup(f"{place.path}/{name}")
            raise KernelError(errno.EEXIST, f"/sys{place.path} has a {name} already")

    def at(self, kobj: int) -> Directory:
        """The directory of a kobject; ENOENT if it has none."""
        if kobj not in self.of:
            raise KernelError(errno.ENOENT, "the kobject is not in /sys")
        return self.of[kobj]

    def path(self, kobj: int) -> str:
        """From the top of /sys: `/kernel/mine`; "" if it has no directory."""
        return self.of[kobj].path if kobj in self.of else ""

    # --- attributes ---------------------------------------------------------------------------------

    def attribute_name(self, address: int) -> str:
        """Name in a `struct attribute`."""
        name = self._kernel.view("attribute", address).get("name")
        return self._kernel.memory.read_text(name)

    def add_file(
        self, kobj: int, address: int, mode: int | None = None, group: str = "", *, binary: bool = False
    ) -> None:
        """Show an attribute of a kobject; EEXIST if the name is taken."""
        place, name = self.at(kobj), self.attribute_name(address)
        where = place.groups.setdefault(group, {}) if group else place.files
        if name in where or (not group and place.has(name)):
            inside = f"{place.path}/{group}" if group else place.path
            self.warn_dup(f"{inside}/{name}")
            raise KernelError(errno.EEXIST, f"/sys{inside} has a {name} already")
        if mode is None:
            mode = self._kernel.view("attribute", address).mode
        where[name] = Attribute(address, mode & _MODE, binary=binary)

    def remove_file(self, kobj: int, name: str, group: str = "") -> bool:
        """Whether there was an attribute of that name."""
        place = self.of.get(kobj)
        if place is None:
            return False
        where = place.groups.get(group, {}) if group else place.files
        return where.pop(name, None) is not None

    def notify(self, kobj: int, group: str, name: str) -> None:
        """Wake who polls an attribute (fs/kernfs/file.c: kernfs_notify)."""
        place = self.of.get(kobj)
        files = {} if place is None else place.groups.get(group, {}) if group else place.files
        if name in files:
            files[name].event += 1
            files[name].pollers.wake(self._kernel)

    def create_files(self, kobj: int, attributes: int) -> int:
        """A NULL-terminated array of attributes; 0 or a negative errno."""
        return sysfs_create_files(self._kernel, kobj, attributes)

    async def create_groups(self, kobj: int, groups: int) -> int:
        """Attributes of a NULL-terminated array of groups; 0 or a negative errno."""
        return await create_groups(self._kernel, kobj, groups)

    async def uevent(self, kobj: int, action: str) -> int:
        """Tell user space; 0 or a negative errno."""
        return await send_uevent(self._kernel, kobj, action)

    # --- what is shown ------------------------------------------------------------------------------

    def list(self, kobj: int) -> dict[str, Node]:
        """What drivers put into a kobject's directory."""
        return self._list(self.of[kobj]) if kobj in self.of else {}

    def _list(self, place: Directory) -> dict[str, Node]:
        nodes = dict(place.computed())
        for name, child in place.children.items():
            if name in nodes:
                continue  # who computes it lists the stored part too
            nodes[name] = directory(lambda child=child: self._list(child), 0o755)  # type: ignore[misc]
        nodes.update(self._files(place, place.files))
        for name, files in place.groups.items():
            nodes[name] = directory(lambda files=files: self._files(place, files), 0o755)  # type: ignore[misc]
        for name, kobj in place.links.items():
            target = self.of.get(kobj)
            if target is not None:
                nodes[name] = Node(0o777, target=relative(place.path, target.path))
        return nodes

    def _files(self, place: Directory, files: dict[str, Attribute]) -> dict[str, Node]:
        return {name: self._file(place, files, name) for name in files}

    def _file(self, place: Directory, files: dict[str, Attribute], name: str) -> Node:
        attribute, kobj = files[name], place.kobj

        def alive() -> None:
            if files.get(name) is not attribute or self.of.get(kobj) is not place:
                raise KernelError(errno.ENODEV, f"{name} was removed")

        if attribute.binary:
            return self._binary(attribute, kobj, alive)
        show, store = self._operations(kobj)

        async def read(task: Task) -> bytes:
            alive()
            return await self._show(show, kobj, attribute.address)

        async def write(task: Task, data: bytes) -> int:
            alive()
            return await self._store(store, kobj, attribute.address, data)

        node = Node(attribute.mode, read if show else None, write if store else None, size=PAGE_SIZE)
        node.operations, node.chmod = AttributeOperations(self._kernel, attribute), attribute.chmod
        return node

    def _binary(self, attribute: Attribute, kobj: int, alive: Callable[[], None]) -> Node:
        view = self._kernel.view("bin_attribute", attribute.address)
        methods = (_nothing if view.get("read") else None, _nothing if view.get("write") else None)
        node = Node(attribute.mode, *methods, size=view.size)
        node.operations, node.chmod = BinaryOperations(self._kernel, alive, kobj, attribute), attribute.chmod
        return node

    def _operations(self, kobj: int) -> tuple[int, int]:
        """`show` and `store` of the kobject's type."""
        kernel = self._kernel
        ktype = kernel.view("kobject", kobj).ktype
        ops = kernel.view("kobj_type", ktype).sysfs_ops if ktype else 0
        return (kernel.memory.read_u64(ops), kernel.memory.read_u64(ops + 8)) if ops else (0, 0)

    async def _show(self, show: int, kobj: int, attribute: int) -> bytes:
        """fs/sysfs/file.c: sysfs_kf_seq_show."""
        kernel = self._kernel
        page = kernel.pages.allocate()
        if not page:
            raise KernelError(errno.ENOMEM)
        count = to_long(await kernel.call_guest(show, kobj, attribute, page))
        if count >= PAGE_SIZE:
            kernel.printk.emit(f"fill_read_buffer: {kernel.describe(show)} returned bad count\n", 4)
            count = PAGE_SIZE - 1
        data = kernel.memory.read(page, max(count, 0))
        kernel.pages.free(page)
        if count < 0:
            raise KernelError(-count, "the driver's show() refused")
        return data

    async def _store(self, store: int, kobj: int, attribute: int, data: bytes) -> int:
        """fs/sysfs/file.c: sysfs_kf_write: one call with at most a page, and a NUL behind it."""
        kernel = self._kernel
        data = data[:PAGE_SIZE]
        buffer = kernel.heap.kmalloc(len(data) + 1)
        if not buffer:
            raise KernelError(errno.ENOMEM)
        kernel.memory.write(buffer, data + b"\0")
        taken = to_long(await kernel.call_guest(store, kobj, attribute, buffer, len(data)))
        kernel.heap.kfree(buffer)
        if taken < 0:
            raise KernelError(-taken, "the driver's store() refused")
        return taken

    # --- saved machines -----------------------------------------------------------------------------

    def save(self) -> Any:
        """State for a snapshot or file."""
        return _saved(self.root)

    def load(self, state: Any) -> None:
        """Put saved state back; what other rooms compute stays."""
        self.of.clear()
        self._restore(self.root, state)

    def _restore(self, place: Directory, state: Any) -> None:
        place.kobj, files, groups, links, children = state
        place.links = dict(links)
        place.files = {name: Attribute(a, m, binary=b) for name, (a, m, b) in files.items()}
        place.groups = {
            group: {name: Attribute(a, m, binary=b) for name, (a, m, b) in inside.items()}
            for group, inside in groups.items()
        }
        if place.kobj:
            self.of[place.kobj] = place
        known = place.children
        place.children = {name: known.get(name) or Directory(name, place) for name in children}
        for name, inner in children.items():
            self._restore(place.children[name], inner)


def relative(start: str, target: str) -> str:
    """A link's text: up to the common directory and down again (fs/kernfs/symlink.c).

    >>> relative("/class/demo", "/devices/virtual/demo/demo0")
    '../../devices/virtual/demo/demo0'
    >>> relative("/kernel/a", "/kernel/b")
    '../b'
    """
    up, down = start.strip("/").split("/"), target.strip("/").split("/")
    while up and len(down) > 1 and up[0] == down[0]:
        del up[0], down[0]
    return "../" * len(up) + "/".join(down)


def _nothing(*_: object) -> bytes:
    """Stands for a method that BinaryOperations has."""
    return b""


def _saved(place: Directory) -> Any:
    def plain(files: dict[str, Attribute]) -> Any:
        return {name: [a.address, a.mode, a.binary] for name, a in files.items()}

    groups = {group: plain(files) for group, files in place.groups.items()}
    children = {name: _saved(child) for name, child in place.children.items()}
    return [place.kobj, plain(place.files), groups, dict(place.links), children]


class AttributeOperations(NodeOperations):
    """An attribute: poll(2) says whether it was notified since it was read (fs/kernfs/file.c)."""

    def __init__(self, kernel: KernelCore, attribute: Attribute) -> None:
        super().__init__(kernel)
        self._attribute = attribute
        self._seen: dict[File, int] = {}

    async def release(self, file: File) -> None:
        """Forget what it has seen."""
        self._seen.pop(file, None)

    async def get(self, file: File, count: int, pos: int) -> bytes:
        """A piece of the text, and what happened before it is not news any more."""
        if not pos:
            self._seen[file] = self._attribute.event
        return await super().get(file, count, pos)

    async def poll(self, file: File, table: Poll, events: int) -> int:
        """EPOLLERR and EPOLLPRI for news."""
        table.add(self._attribute.pollers)
        news = self._seen.get(file) != self._attribute.event
        return DEFAULT_POLLMASK | (EPOLLERR | EPOLLPRI if news else 0)


class BinaryOperations(BufferedOperations):
    """A bin_attribute: at any position, a page a call (fs/sysfs/file.c: sysfs_kf_bin_read, ..._write)."""

    def __init__(
        self, kernel: KernelCore, alive: Callable[[], None], kobj: int, attribute: Attribute
    ) -> None:
        super().__init__(kernel)
        self._alive, self._kobj, self._attribute = alive, kobj, attribute
        self._view = kernel.view("bin_attribute", attribute.address)

    async def get(self, file: File, count: int, pos: int) -> bytes:
        """One call of `read`, up to the attribute's size."""
        self._alive()
        size = self._view.size
        count = min(count, PAGE_SIZE, size - pos if size else count)
        if count <= 0:
            return b""
        return await self._transfer(self._view.get("read"), bytes(count), pos)

    async def put(self, file: File, data: bytes, pos: int) -> int:
        """One call of `write`; EFBIG behind the end."""
        self._alive()
        size, data = self._view.size, data[:PAGE_SIZE]
        if size and size <= pos:
            raise KernelError(errno.EFBIG, "the attribute ends before that position")
        if size:
            data = data[: size - pos]
        return len(await self._transfer(self._view.get("write"), data, pos)) if data else 0

    async def _transfer(self, method: int, data: bytes, pos: int) -> bytes:
        kernel = self.kernel
        if not method:
            raise KernelError(errno.EIO, "the driver has no such method")
        buffer = kernel.heap.kmalloc(len(data))
        kernel.memory.write(buffer, data)
        arguments = (0, self._kobj, self._attribute.address, buffer, pos, len(data))
        result = to_long(await kernel.call_guest(method, *arguments))
        data = kernel.memory.read(buffer, max(min(result, len(data)), 0))
        kernel.heap.kfree(buffer)
        if result < 0:
            raise KernelError(-result, "the driver's method refused")
        return data
