"""Entries that modules make in /proc (fs/proc/generic.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kmod_emu.fs.guest_node import GuestNode
from kmod_emu.fs.proc_file import ProcOperations
from kmod_emu.kernel.exports import export
from kmod_emu.uapi.stat import S_IFDIR, S_IFMT, S_IFREG

if TYPE_CHECKING:
    from collections.abc import Container

    from kmod_emu.fs.file import File
    from kmod_emu.kernel.kernel import KernelCore

_SOURCE = "fs/proc/generic.c"
_S_IALLUGO = 0o7777
_NAME_MAX = 255
_ROOT_NAME = "/proc"


class ProcEntry(GuestNode):
    """A `struct proc_dir_entry`: to the module an address, to the VFS a node.

    Attributes:
        address: Of the struct.
        kind: "dir", "link", or what serves a file: "ops" (a struct proc_ops), "seq", "net" (the same, with
            a network namespace at the start of its private data) or "single".
        served: Address of the struct proc_ops or seq_operations, or of the show function.
        state_size: Bytes of private data that each open "seq" file gets.
        data: What pde_data() gives the module.
        entries: A directory's entries.
        openers: Open files whose release the module has not seen yet.
        removed: Whether it is gone; open files then answer EIO.
    """

    def __init__(self, name: str, parent: ProcEntry | None, mode: int, kind: str, address: int) -> None:
        super().__init__(mode & _S_IALLUGO)
        self.name, self.parent, self.kind, self.address = name, parent, kind, address
        self.served = self.state_size = self.data = 0
        self.entries: dict[str, ProcEntry] = {}
        self.openers: list[File] = []
        self.removed = False
        self.guest = kind in ("ops", "seq", "net", "single")
        if kind == "dir":
            self.children = lambda: dict(self.entries)


class ProcTree:
    """All entries that modules made, below /proc.

    Args:
        reserved: What the kernel itself has in /proc.
    """

    def __init__(self, kernel: KernelCore, reserved: Container[str]) -> None:
        self._kernel, self._reserved = kernel, reserved
        self.operations = ProcOperations(kernel)
        self.root = ProcEntry(_ROOT_NAME, None, 0o555, "dir", 0)
        self.by_address: dict[int, ProcEntry] = {0: self.root}

    def entry(self, address: int) -> ProcEntry:
        """The entry whose struct lies at an address; NULL is /proc."""
        return self.by_address[address]

    def of_inode(self, inode: int) -> ProcEntry | None:
        """The entry behind a `struct inode`."""
        for entry in self.by_address.values():
            if entry.inode is not None and entry.inode.address == inode:
                return entry
        return None

    def walk(self, path: str, parent: int) -> tuple[ProcEntry, str] | None:
        """The directory a path leads to and the last name (__xlate_proc_name); None, and a warning."""
        place = self.entry(parent)
        *above, name = path.split("/")
        for component in above:
            following = place.entries.get(component)
            if following is None:
                self.warn(f"name '{path}'", 175, "__xlate_proc_name+0x86/0xa0")
                return None
            place = following
        return place, name

    def warn(self, text: str, line: int, function: str) -> None:
        """WARN() where the real kernel has it."""
        self._kernel.warnings.warn(_SOURCE, line, text, function)

    def create(self, path: str, parent: int, mode: int, kind: str) -> ProcEntry | None:
        """A new entry (__proc_create, proc_register); None, and a warning, if it cannot be."""
        found = self.walk(path, parent)
        if found is None:
            return None
        place, name = found
        if not self._name_is_good(place, name):
            return None
        if name in place.entries or (place is self.root and name in self._reserved):
            shown = f"{place.name}/{name}"
            self.warn(f"proc_dir_entry '{shown}' already registered", 400, "proc_register+0x19f/0x240")
            return None
        address = self._kernel.heap.kmalloc(self._kernel.profile.struct("proc_dir_entry").size)
        if not address:
            return None
        entry = self._entry(name, place, mode, kind, address)
        place.entries[name] = self.by_address[address] = entry
        return entry

    def _entry(self, name: str, place: ProcEntry, mode: int, kind: str, address: int) -> ProcEntry:
        entry = ProcEntry(name, place, mode, kind, address)
        if entry.guest:
            entry.operations = self.operations
        return entry

    def _name_is_good(self, place: ProcEntry, name: str) -> bool:
        where = "__proc_create"
        size = len(name.encode("utf-8", "surrogateescape"))
        if not 0 < size <= _NAME_MAX:
            self.warn(f"name len {size}", 429, f"{where}+0x22e/0x280")
        elif name == ".":
            self.warn("name '.'", 433, f"{where}+0x25d/0x280")
        elif name == "..":
            self.warn("name '..'", 437, f"{where}+0xbe/0x280")
        elif place is self.root and name.isdigit() and str(int(name)) == name:
            self.warn(f"create '/proc/{name}' by hand", 441, f"{where}+0x248/0x280")
        else:
            return True
        return False

    async def remove(self, entry: ProcEntry) -> None:
        """Take an entry and all below it away; files still open are released now (proc_entry_rundown)."""
        for child in list(entry.entries.values()):
            await self.remove(child)
        await self.forget(entry)

    async def forget(self, entry: ProcEntry) -> None:
        """Take one entry away."""
        parent = entry.parent
        if parent is not None:
            parent.entries.pop(entry.name, None)
        entry.removed = True
        for file in list(entry.openers):
            await self.operations.release(file)
        entry.unhash(self._kernel)
        self.by_address.pop(entry.address, None)
        self._kernel.heap.kfree(entry.address)

    # --- saved machines -----------------------------------------------------------------------------

    def save(self) -> Any:
        """State for a snapshot or file; open files are not part of it."""
        return [_saved(entry) for entry in self.root.entries.values()]

    def load(self, state: Any) -> None:
        """Put saved state back."""
        self.root.entries.clear()
        self.by_address = {0: self.root}
        for saved in state:
            self._restore(self.root, saved)

    def _restore(self, parent: ProcEntry, saved: Any) -> None:
        name, mode, kind, address, facts, target, children = saved
        entry = self._entry(name, parent, mode, kind, address)
        entry.served, entry.state_size, entry.data, entry.size, entry.uid, entry.gid = facts
        entry.target = target
        parent.entries[name] = self.by_address[address] = entry
        for child in children:
            self._restore(entry, child)


def _saved(entry: ProcEntry) -> Any:
    facts = [entry.served, entry.state_size, entry.data, entry.size, entry.uid, entry.gid]
    children = [_saved(child) for child in entry.entries.values()]
    return [entry.name, entry.permissions, entry.kind, entry.address, facts, entry.target, children]


# --- making entries -------------------------------------------------------------------------------------


def _create_file(
    kernel: KernelCore, name: str, mode: int, parent: int, kind: str, served: int, data: int
) -> ProcEntry | None:
    """proc_create_reg()."""
    tree = kernel[ProcTree]
    if mode & S_IFMT not in (0, S_IFREG):
        tree.warn("", 573, "proc_create_reg+0x76/0x80")
        return None
    entry = tree.create(name, parent, mode if mode & _S_IALLUGO else 0o444, kind)
    if entry is not None:
        entry.served, entry.data = served, data
    return entry


def _address(entry: ProcEntry | None) -> int:
    return entry.address if entry is not None else 0


@export(
    "struct proc_dir_entry *proc_create_data(const char *name, umode_t mode, struct proc_dir_entry *parent, "
    "const struct proc_ops *proc_ops, void *data)"
)
def proc_create_data(kernel: KernelCore, name: str, mode: int, parent: int, proc_ops: int, data: int) -> int:
    """A file whose operations are the module's (fs/proc/generic.c)."""
    return _address(_create_file(kernel, name, mode, parent, "ops", proc_ops, data))


@export(
    "struct proc_dir_entry *proc_create(const char *name, umode_t mode, struct proc_dir_entry *parent, "
    "const struct proc_ops *proc_ops)"
)
def proc_create(kernel: KernelCore, name: str, mode: int, parent: int, proc_ops: int) -> int:
    """proc_create_data without data (fs/proc/generic.c)."""
    return _address(_create_file(kernel, name, mode, parent, "ops", proc_ops, 0))


@export(
    "struct proc_dir_entry *proc_create_seq_private(const char *name, umode_t mode, "
    "struct proc_dir_entry *parent, const struct seq_operations *ops, unsigned int state_size, void *data)"
)
def proc_create_seq_private(
    kernel: KernelCore, name: str, mode: int, parent: int, ops: int, state_size: int, data: int
) -> int:
    """A sequential file (fs/proc/generic.c)."""
    entry = _create_file(kernel, name, mode, parent, "seq", ops, data)
    if entry is not None:
        entry.state_size = state_size
    return _address(entry)


@export(
    "struct proc_dir_entry *proc_create_single_data(const char *name, umode_t mode, "
    "struct proc_dir_entry *parent, int (*show)(struct seq_file *, void *), void *data)"
)
def proc_create_single_data(
    kernel: KernelCore, name: str, mode: int, parent: int, show: int, data: int
) -> int:
    """A file of one record (fs/proc/generic.c)."""
    return _address(_create_file(kernel, name, mode, parent, "single", show, data))


@export(
    "struct proc_dir_entry *proc_mkdir_data(const char *name, umode_t mode, struct proc_dir_entry *parent, "
    "void *data)"
)
def proc_mkdir_data(kernel: KernelCore, name: str, mode: int, parent: int, data: int) -> int:
    """A directory (fs/proc/generic.c)."""
    entry = kernel[ProcTree].create(name, parent, S_IFDIR | (mode or 0o555), "dir")
    if entry is not None:
        entry.data = data
    return _address(entry)


@export(
    "struct proc_dir_entry *_proc_mkdir(const char *name, umode_t mode, struct proc_dir_entry *parent,"
    " void *data, bool force_lookup)"
)
def _proc_mkdir(kernel: KernelCore, name: str, mode: int, parent: int, data: int, force_lookup: int) -> int:
    """A directory, of a network namespace's too (fs/proc/generic.c)."""
    return proc_mkdir_data(kernel, name, mode, parent, data)


@export("struct proc_dir_entry *proc_mkdir(const char *name, struct proc_dir_entry *parent)")
def proc_mkdir(kernel: KernelCore, name: str, parent: int) -> int:
    """A directory that everybody may read (fs/proc/generic.c)."""
    return proc_mkdir_data(kernel, name, 0, parent, 0)


@export(
    "struct proc_dir_entry *proc_mkdir_mode(const char *name, umode_t mode, struct proc_dir_entry *parent)"
)
def proc_mkdir_mode(kernel: KernelCore, name: str, mode: int, parent: int) -> int:
    """A directory with permissions (fs/proc/generic.c)."""
    return proc_mkdir_data(kernel, name, mode, parent, 0)


@export(
    "struct proc_dir_entry *proc_symlink(const char *name, struct proc_dir_entry *parent, const char *dest)"
)
def proc_symlink(kernel: KernelCore, name: str, parent: int, dest: str) -> int:
    """A symbolic link (fs/proc/generic.c)."""
    entry = kernel[ProcTree].create(name, parent, 0o777, "link")
    if entry is not None:
        entry.target, entry.size = dest, len(dest.encode("utf-8", "surrogateescape"))
    return _address(entry)


@export("void proc_set_size(struct proc_dir_entry *de, loff_t size)")
def proc_set_size(kernel: KernelCore, de: int, size: int) -> None:
    """What stat(2) says of an entry (fs/proc/generic.c)."""
    kernel[ProcTree].entry(de).size = size


@export("void proc_set_user(struct proc_dir_entry *de, kuid_t uid, kgid_t gid)")
def proc_set_user(kernel: KernelCore, de: int, uid: int, gid: int) -> None:
    """Whose an entry is (fs/proc/generic.c)."""
    entry = kernel[ProcTree].entry(de)
    entry.uid, entry.gid = uid & 0xFFFF_FFFF, gid & 0xFFFF_FFFF


# --- removing them --------------------------------------------------------------------------------------


@export("void remove_proc_entry(const char *name, struct proc_dir_entry *parent)")
async def remove_proc_entry(kernel: KernelCore, name: str, parent: int) -> None:
    """Remove an entry by its name (fs/proc/generic.c)."""
    tree = kernel[ProcTree]
    found = tree.walk(name, parent)
    if found is None:
        return
    place, last = found
    entry = place.entries.get(last)
    if entry is None:
        tree.warn(f"name '{name}'", 734, "remove_proc_entry+0x140/0x1b0")
        return
    first = next(iter(entry.entries), None)
    await tree.forget(entry)
    if first is not None:
        text = f"removing non-empty directory '{place.name}/{entry.name}', leaking at least '{first}'"
        tree.warn(f"remove_proc_entry: {text}", 740, "remove_proc_entry+0x123/0x1b0")


@export("int remove_proc_subtree(const char *name, struct proc_dir_entry *parent)")
async def remove_proc_subtree(kernel: KernelCore, name: str, parent: int) -> int:
    """Remove an entry with all below it (fs/proc/generic.c)."""
    tree = kernel[ProcTree]
    found = tree.walk(name, parent)
    if found is None:
        return -2
    entry = found[0].entries.get(found[1])
    if entry is None:
        return -2
    await tree.remove(entry)
    return 0


@export("void proc_remove(struct proc_dir_entry *de)")
async def proc_remove(kernel: KernelCore, de: int) -> None:
    """Remove what proc_create() gave; NULL is fine (fs/proc/generic.c)."""
    if de:
        await kernel[ProcTree].remove(kernel[ProcTree].entry(de))


# --- what a file's operations ask -----------------------------------------------------------------------


@export("void *pde_data(const struct inode *inode)")
def pde_data(kernel: KernelCore, inode: int) -> int:
    """The data that an entry was created with (fs/proc/generic.c)."""
    entry = kernel[ProcTree].of_inode(inode)
    return entry.data if entry is not None else 0


@export("void *PDE_DATA(const struct inode *inode)")
def PDE_DATA(kernel: KernelCore, inode: int) -> int:  # noqa: N802 - its name until 5.16
    """pde_data's older name (fs/proc/generic.c)."""
    return pde_data(kernel, inode)


@export("void *proc_get_parent_data(const struct inode *inode)")
def proc_get_parent_data(kernel: KernelCore, inode: int) -> int:
    """The data of the directory that an entry is in (fs/proc/generic.c)."""
    entry = kernel[ProcTree].of_inode(inode)
    return entry.parent.data if entry is not None and entry.parent is not None else 0
