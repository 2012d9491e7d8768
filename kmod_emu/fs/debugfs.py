"""Debugfs: files that modules make in /sys/kernel/debug (fs/debugfs/inode.c, file.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kmod_emu.errors import KernelError
from kmod_emu.fs.debugfs_value import VALUES, ValueOperations
from kmod_emu.fs.guest_file import GuestFile, GuestOperations, guest_dentry
from kmod_emu.fs.guest_node import GuestNode
from kmod_emu.fs.vfs import Vfs
from kmod_emu.kernel.exports import export
from kmod_emu.uapi import errno

if TYPE_CHECKING:
    from kmod_emu.fs.file import File
    from kmod_emu.fs.inode import Dentry
    from kmod_emu.fs.tree import Node
    from kmod_emu.kernel.kernel import KernelCore

_MODE = 0o7777
_ERR_PTR = (1 << 64) - 4095
_MASK64 = (1 << 64) - 1


class DebugEntry(GuestNode):
    """A name in debugfs; to the module it is a `struct dentry`.

    Attributes:
        kind: "dir", "link", "file" (a struct file_operations serves it), or a kind of value (VALUES).
        fops: A file's struct file_operations.
        data: `inode->i_private`; of a value, where it lies.
    """

    def __init__(self, name: str, parent: DebugEntry | None, mode: int, kind: str) -> None:
        super().__init__(mode & _MODE)
        self.name, self.parent, self.kind = name, parent, kind
        self.fops = self.data = 0
        self.entries: dict[str, DebugEntry] = {}
        self.removed = False
        if kind == "dir":
            self.children = lambda: dict(self.entries)

    @property
    def path(self) -> list[str]:
        """Names from the top of debugfs."""
        return [*self.parent.path, self.name] if self.parent is not None else []


class DebugOperations(GuestOperations):
    """full_proxy_file_operations: the module's own, as long as the file is there."""

    async def open(self, file: File) -> int:
        """Take a reference on the module, and let it open the file."""
        entry = _entry(file)
        if entry.removed:
            raise KernelError(errno.ENOENT, "the file was removed from debugfs")
        owner = self.kernel.memory.read_u64(entry.fops)
        assert isinstance(file, GuestFile)
        if owner and not self.kernel.try_module_get(owner):
            raise KernelError(errno.ENXIO, "the file's module is being removed")
        file.fops = entry.fops
        self.kernel.view("inode", file.inode.address).i_private = entry.data
        return await super().open(file)

    async def _call(self, file: File, name: str, *arguments: int) -> int:
        if _entry(file).removed and name not in ("release", "flush"):
            raise KernelError(errno.EIO, "the file was removed from debugfs")
        return await super()._call(file, name, *arguments)


def _entry(file: File) -> DebugEntry:
    entry: DebugEntry = file.inode.node  # type: ignore[attr-defined]
    return entry


class Debugfs:
    """All entries that modules made; what the kernel itself has there is shown beside them.

    Args:
        kernel: The machine.
        own: Files of the kernel's own.
    """

    def __init__(self, kernel: KernelCore, own: dict[str, Node]) -> None:
        self._kernel, self._own = kernel, own
        self._files, self._values = DebugOperations(kernel), ValueOperations(kernel)
        self.root = DebugEntry("", None, 0o700, "dir")
        self.root.children = lambda: {**self.root.entries, **self._own}
        self.by_address: dict[int, DebugEntry] = {}

    def entry(self, address: int) -> DebugEntry:
        """The entry whose dentry lies at an address; NULL is the top."""
        return self.by_address[address] if address else self.root

    def find(self, place: DebugEntry, name: str) -> DebugEntry | None:
        """The entry of a module's in a directory."""
        return place.entries.get(name)

    def create(self, name: str, mode: int, parent: int, kind: str, target: str | None = None) -> DebugEntry:
        """A new entry.

        Raises:
            KernelError: EEXIST, the directory has that name; what an error pointer for the parent says.
        """
        if parent >= _ERR_PTR:
            raise KernelError((1 << 64) - parent, "the parent is an error pointer")
        place = self.entry(parent)
        if name in place.entries or (place is self.root and name in self._own):
            what, where = ("Directory", "with parent") if kind == "dir" else ("File", "in directory")
            shown = place.name or "/"
            self._kernel.printk.emit(f"debugfs: {what} '{name}' {where} '{shown}' already present!\n", 3)
            raise KernelError(errno.EEXIST, f"debugfs has a {name} there already")
        entry = self._make(name, place, mode, kind)
        entry.target = target
        self.by_address[guest_dentry(self._kernel, self._dentry_of(entry))] = entry
        return entry

    def _make(self, name: str, place: DebugEntry, mode: int, kind: str) -> DebugEntry:
        entry = place.entries[name] = DebugEntry(name, place, mode, kind)
        if kind == "file":
            entry.guest, entry.operations = True, self._files
        elif kind in VALUES:
            entry.operations = self._values
        return entry

    def _dentry_of(self, entry: DebugEntry) -> Dentry:
        """The VFS's dentry, by looking the name up."""
        place = self._kernel[Vfs].lookup("/sys/kernel/debug")
        for name in entry.path:
            found = place.inode.lookup(place, name)
            assert found is not None
            place = found
        return place

    def address(self, entry: DebugEntry) -> int:
        """Of its struct dentry."""
        return next(address for address, known in self.by_address.items() if known is entry)

    def move(self, entry: DebugEntry, place: DebugEntry, name: str) -> None:
        """Give an entry another name or directory."""
        assert entry.parent is not None
        del entry.parent.entries[entry.name]
        place.entries[name] = entry
        entry.name, entry.parent = name, place

    def remove(self, entry: DebugEntry) -> None:
        """Take an entry and all below it away."""
        for child in list(entry.entries.values()):
            self.remove(child)
        if entry.parent is None:
            return
        address = self.address(entry)
        del entry.parent.entries[entry.name], self.by_address[address]
        entry.removed = True
        entry.unhash(self._kernel)

    # --- saved machines -----------------------------------------------------------------------------

    def save(self) -> Any:
        """State for a snapshot or file; open files are not part of it."""
        addresses = {entry: address for address, entry in self.by_address.items()}
        return {
            "above": [[dentry.address, dentry.inode.address] for dentry in self._above()],
            "entries": [_saved(entry, addresses) for entry in self.root.entries.values()],
        }

    def load(self, state: Any) -> None:
        """Put saved state back."""
        self.root.entries.clear()
        self.by_address = {}
        for dentry, addresses in zip(self._above(), state["above"], strict=True):
            dentry.address, dentry.inode.address = addresses
        for saved in state["entries"]:
            self._restore(self.root, saved)

    def _above(self) -> list[Dentry]:
        """The dentries on the way up from the top of all entries, which guest code may know too."""
        try:
            found = [self._kernel[Vfs].lookup("/sys/kernel/debug")]
        except KernelError:  # Linux 2.4 has no sysfs
            return []
        while found[-1].parent is not found[-1]:
            found.append(found[-1].parent)
        return found

    def _restore(self, place: DebugEntry, saved: Any) -> None:
        name, mode, kind, address, inode, facts, target, children = saved
        entry = self._make(name, place, mode, kind)
        entry.fops, entry.data = facts
        entry.target = target
        self.by_address[address] = entry
        dentry = self._dentry_of(entry)
        dentry.address, dentry.inode.address = address, inode
        for child in children:
            self._restore(entry, child)


def _saved(entry: DebugEntry, addresses: dict[DebugEntry, int]) -> Any:
    inode = entry.inode.address if entry.inode is not None else 0
    children = [_saved(child, addresses) for child in entry.entries.values()]
    facts = [entry.fops, entry.data]
    return [entry.name, entry.permissions, entry.kind, addresses[entry], inode, facts, entry.target, children]


# --- making entries ---------------------------------------------------------------------------------------


@export("bool debugfs_initialized(void)")
def debugfs_initialized(kernel: KernelCore) -> int:
    """Whether there is a debugfs (fs/debugfs/inode.c)."""
    return 1


@export("struct dentry *debugfs_create_dir(const char *name, struct dentry *parent)")
def debugfs_create_dir(kernel: KernelCore, name: str, parent: int) -> int:
    """A directory, or an error pointer (fs/debugfs/inode.c)."""
    debugfs = kernel[Debugfs]
    return debugfs.address(debugfs.create(name, 0o755, parent, "dir"))


@export(
    "struct dentry *debugfs_create_file(const char *name, umode_t mode, struct dentry *parent, void *data, "
    "const struct file_operations *fops)"
)
def debugfs_create_file(kernel: KernelCore, name: str, mode: int, parent: int, data: int, fops: int) -> int:
    """A file whose operations are the module's, or an error pointer (fs/debugfs/inode.c)."""
    debugfs = kernel[Debugfs]
    entry = debugfs.create(name, mode, parent, "file")
    entry.fops, entry.data = fops, data
    return debugfs.address(entry)


for _variant in ("unsafe", "full", "full_short"):
    export(
        f"struct dentry *debugfs_create_file_{_variant}(const char *name, umode_t mode, "
        "struct dentry *parent, void *data, const struct file_operations *fops)"
    )(debugfs_create_file)


@export(
    "void debugfs_create_file_size(const char *name, umode_t mode, struct dentry *parent, void *data, "
    "const struct file_operations *fops, loff_t file_size)"
)
def debugfs_create_file_size(
    kernel: KernelCore, name: str, mode: int, parent: int, data: int, fops: int, file_size: int
) -> None:
    """debugfs_create_file with a size for stat(2) (fs/debugfs/inode.c)."""
    kernel[Debugfs].entry(debugfs_create_file(kernel, name, mode, parent, data, fops)).size = file_size


@export("struct dentry *debugfs_create_symlink(const char *name, struct dentry *parent, const char *target)")
def debugfs_create_symlink(kernel: KernelCore, name: str, parent: int, target: str) -> int:
    """A symbolic link, or an error pointer (fs/debugfs/inode.c)."""
    debugfs = kernel[Debugfs]
    return debugfs.address(debugfs.create(name, 0o777, parent, "link", target))


@export("struct dentry *debugfs_lookup(const char *name, struct dentry *parent)")
def debugfs_lookup(kernel: KernelCore, name: str, parent: int) -> int:
    """The entry of that name, or NULL (fs/debugfs/inode.c)."""
    debugfs = kernel[Debugfs]
    if parent >= _ERR_PTR:
        return 0
    entry = debugfs.find(debugfs.entry(parent), name)
    return debugfs.address(entry) if entry is not None else 0


@export("void debugfs_remove(struct dentry *dentry)")
def debugfs_remove(kernel: KernelCore, dentry: int) -> None:
    """Remove an entry with all below it; NULL and error pointers are fine (fs/debugfs/inode.c)."""
    if dentry and dentry < _ERR_PTR:
        kernel[Debugfs].remove(kernel[Debugfs].entry(dentry))


@export("void debugfs_lookup_and_remove(const char *name, struct dentry *parent)")
def debugfs_lookup_and_remove(kernel: KernelCore, name: str, parent: int) -> None:
    """Remove an entry by its name (fs/debugfs/inode.c)."""
    debugfs_remove(kernel, debugfs_lookup(kernel, name, parent))


def _create_value(kernel: KernelCore, kind: str, name: str, mode: int, parent: int, place: int) -> int:
    debugfs = kernel[Debugfs]
    try:
        entry = debugfs.create(name, mode, parent, kind)
    except KernelError as error:
        return -error.errno & _MASK64
    entry.data = place
    return debugfs.address(entry)


def _export_value(kind: str, c_type: str, result: str) -> None:
    prototype = (
        f"{result}debugfs_create_{kind}(const char *name, umode_t mode, struct dentry *parent, {c_type})"
    )

    @export(prototype)
    def create(kernel: KernelCore, name: str, mode: int, parent: int, place: int) -> int:
        return _create_value(kernel, kind, name, mode, parent, place)


for _kind, _value in VALUES.items():
    _export_value(_kind, _value.c_type, "struct dentry *" if _kind == "blob" else "void ")
