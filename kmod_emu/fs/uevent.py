"""Uevents: what the kernel would tell udev about things in /sys (lib/kobject_uevent.c).

The newest 1,000 are kept for whoever wants to look; programs that listen to netlink are told as well.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, NamedTuple

from kmod_emu.errors import KernelError
from kmod_emu.kernel.activation import to_int
from kmod_emu.kernel.exports import export
from kmod_emu.kernel.vsprintf import vsnprintf
from kmod_emu.uapi import errno

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from kmod_emu.abi.structs import StructView
    from kmod_emu.kernel.kernel import KernelCore
    from kmod_emu.kernel.va_list import Arguments

_KEPT = 1000
_ACTIONS = ("add", "remove", "change", "move", "online", "offline", "bind", "unbind")


class Uevent(NamedTuple):
    """One message: `add@/devices/virtual/misc/demo` and its variables."""

    action: str
    path: str
    variables: dict[str, str]

    def __str__(self) -> str:
        return f"{self.action}@{self.path}"


class Uevents:
    """The messages sent, newest last."""

    def __init__(self) -> None:
        self.sent: deque[Uevent] = deque(maxlen=_KEPT)
        self.seqnum = 0
        self.tell: Callable[[Uevent], None] = lambda event: None  # those who listen

    def save(self) -> Any:
        """State for a snapshot or file."""
        return [self.seqnum, [list(event) for event in self.sent]]

    def load(self, state: Any) -> None:
        """Put saved state back."""
        self.seqnum, sent = state
        self.sent = deque((Uevent(*event) for event in sent), maxlen=_KEPT)

    def send(self, action: str, path: str, variables: dict[str, str]) -> Uevent:
        """Number a message and keep it."""
        self.seqnum += 1
        facts = {"ACTION": action, "DEVPATH": path, **variables, "SEQNUM": str(self.seqnum)}
        event = Uevent(action, path, facts)
        self.sent.append(event)
        self.tell(event)
        return event


def synthesize(kernel: KernelCore, path: str, subsystem: str, data: bytes) -> None:
    """What was written to a `uevent` file: an action, for udev to see the thing again (kobject_synth_uevent).

    Raises:
        KernelError: EINVAL, there is no such action.
    """
    action = data.removesuffix(b"\n").split(b" ")[0].decode("latin-1")
    if action not in _ACTIONS:
        kernel.printk.emit(f"synth uevent: {path}: unknown uevent action string\n", 4)
        raise KernelError(errno.EINVAL, f"uevents are: {', '.join(_ACTIONS)}")
    kernel[Uevents].send(action, path, {"SUBSYSTEM": subsystem, "SYNTH_UUID": "0"})


async def send_uevent(kernel: KernelCore, kobj: int, action: str, extra: Iterable[str] = ()) -> int:
    """kobject_uevent_env(): 0 or a negative errno."""
    kobjects = kernel.kobjects
    view = kobjects.view(kobj)
    if action == "remove":
        view.set_bit("state_remove_uevent_sent", True)
    top = view
    while not top.kset and top.parent:
        top = kobjects.view(top.parent)
    if not top.kset:
        return -errno.EINVAL
    if view.bit("uevent_suppress"):
        return 0
    kset = kernel.view("kset", top.kset)
    filter_, name, uevent = _operations(kernel, kset.uevent_ops)
    if filter_ and not to_int(await kernel.call_guest(filter_, kobj)):
        return 0
    subsystem = kobjects.name(kset.addressof("kobj"))
    if name:
        place = await kernel.call_guest(name, kobj)
        if not place:
            return 0
        subsystem = kernel.memory.read_text(place)
    variables = {"SUBSYSTEM": subsystem, **dict(text.partition("=")[::2] for text in extra)}
    if uevent:
        error, more = await _ask_driver(kernel, uevent, kobj)
        if error:
            return error
        variables.update(more)
    if action == "add":
        view.set_bit("state_add_uevent_sent", True)
    path = kobjects.sysfs.path(kobj)
    event = kernel[Uevents].send(action, path, variables)
    kernel.events.emit("uevent", action=action, path=path, variables=event.variables)
    return 0


def _operations(kernel: KernelCore, ops: int) -> tuple[int, int, int]:
    """`filter`, `name` and `uevent` of a struct kset_uevent_ops."""
    if not ops:
        return 0, 0, 0
    view = kernel.view("kset_uevent_ops", ops)
    return view.filter, view.get("name"), view.uevent


async def _ask_driver(kernel: KernelCore, uevent: int, kobj: int) -> tuple[int, dict[str, str]]:
    env = kernel.heap.kmalloc(kernel.profile.struct("kobj_uevent_env").size)
    error = to_int(await kernel.call_guest(uevent, kobj, env))
    variables = read_variables(kernel, env)
    kernel.heap.kfree(env)
    return error, variables


def read_variables(kernel: KernelCore, env: int) -> dict[str, str]:
    """What add_uevent_var() collected in a struct kobj_uevent_env."""
    view, memory = kernel.view("kobj_uevent_env", env), kernel.memory
    pointers = (memory.read_u64(view.addressof("envp") + 8 * index) for index in range(view.envp_idx))
    texts = (memory.read_text(pointer) for pointer in pointers)
    return dict(text.partition("=")[::2] for text in texts)


@export("int add_uevent_var(struct kobj_uevent_env *env, const char *format, ...)")
def add_uevent_var(kernel: KernelCore, env: StructView, format: bytes, args: Arguments) -> int:
    """Add NAME=value to a message (lib/kobject_uevent.c)."""
    return add_variable(kernel, env, vsnprintf(format, args, kernel.format_context))


def add_variable(kernel: KernelCore, env: StructView, text: bytes) -> int:
    """NAME=value for a message; 0 or -ENOMEM."""
    text += b"\0"
    index, length, members = env.envp_idx, env.buflen, env.layout.members
    if index >= members["envp"].size // 8 or length + len(text) > members["buf"].size:
        what = "too many keys" if index >= members["envp"].size // 8 else "buffer size too small"
        line, where = (675, "+0x103/0x130") if what == "too many keys" else (686, "+0x118/0x130")
        kernel.warnings.warn(
            "lib/kobject_uevent.c", line, f"add_uevent_var: {what}", f"add_uevent_var{where}"
        )
        return -errno.ENOMEM
    place = env.addressof("buf") + length
    kernel.memory.write(place, text)
    kernel.memory.write_u64(env.addressof("envp") + 8 * index, place)
    env.envp_idx, env.buflen = index + 1, length + len(text)
    return 0


@export("int kobject_uevent_env(struct kobject *kobj, enum kobject_action action, char *envp[])")
async def kobject_uevent_env(kernel: KernelCore, kobj: int, action: int, envp: int) -> int:
    """Tell user space, with variables of the driver's own (lib/kobject_uevent.c)."""
    extra = []
    while envp and (place := kernel.memory.read_u64(envp)):
        extra.append(kernel.memory.read_text(place))
        envp += 8
    return await send_uevent(kernel, kobj, ACTIONS[action], extra)


@export("int kobject_uevent(struct kobject *kobj, enum kobject_action action)")
async def kobject_uevent(kernel: KernelCore, kobj: int, action: int) -> int:
    """Tell user space what happened to a kobject (lib/kobject_uevent.c)."""
    return await send_uevent(kernel, kobj, ACTIONS[action])


ACTIONS = ("add", "remove", "change", "move", "online", "offline", "bind", "unbind")
