"""Programs that modules want started: recorded, never run (kernel/umh.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kmod_emu.kernel.activation import to_int
from kmod_emu.kernel.exports import Fidelity, export

if TYPE_CHECKING:
    from kmod_emu.kernel.kernel import KernelCore


class UserModeHelpers:
    """What modules asked for.

    Attributes:
        calls: Path, argv and envp of each, oldest first.
    """

    def __init__(self, kernel: KernelCore) -> None:
        self._kernel = kernel
        self.calls: list[dict[str, Any]] = []

    def record(self, path: int, argv: int, envp: int) -> None:
        """A module wants a program started."""
        call = {"path": self._text(path), "argv": self._texts(argv), "envp": self._texts(envp)}
        if not call["path"]:  # means that nothing is to be started (CONFIG_STATIC_USERMODEHELPER)
            return
        self.calls.append(call)
        self._kernel.events.emit("usermodehelper", **call)

    def _text(self, address: int) -> str:
        return self._kernel.memory.read_text(address) if address else ""

    def _texts(self, array: int) -> list[str]:
        texts: list[str] = []
        while array and (address := self._kernel.memory.read_u64(array + 8 * len(texts))):
            texts.append(self._text(address))
        return texts

    def save(self) -> Any:
        """State for a snapshot or file."""
        return list(self.calls)

    def load(self, state: Any) -> None:
        """Put saved state back."""
        self.calls = list(state)


@export("int call_usermodehelper(const char *path, char **argv, char **envp, int wait)", Fidelity.APPROXIMATE)
def call_usermodehelper(kernel: KernelCore, path: int, argv: int, envp: int, wait: int) -> int:
    """Start a program: it counts as having ended well (kernel/umh.c)."""
    kernel[UserModeHelpers].record(path, argv, envp)
    return 0


@export(
    "struct subprocess_info *call_usermodehelper_setup(const char *path, char **argv, char **envp,"
    " gfp_t gfp_mask, int (*init)(struct subprocess_info *, struct cred *),"
    " void (*cleanup)(struct subprocess_info *), void *data)"
)
def call_usermodehelper_setup(
    kernel: KernelCore, path: int, argv: int, envp: int, gfp_mask: int, init: int, cleanup: int, data: int
) -> int:
    """Prepare a start (kernel/umh.c)."""
    info = kernel.heap.kmalloc(kernel.profile.struct("subprocess_info").size)
    if info:
        view = kernel.view("subprocess_info", info)
        view.path, view.argv, view.envp, view.cleanup = path, argv, envp, cleanup
        view.set("init", init)
        view.set("data", data)
    return info


@export("int call_usermodehelper_exec(struct subprocess_info *sub_info, int wait)", Fidelity.APPROXIMATE)
async def call_usermodehelper_exec(kernel: KernelCore, sub_info: int, wait: int) -> int:
    """Start what was prepared, and free it (kernel/umh.c)."""
    view = kernel.view("subprocess_info", sub_info)
    cred = kernel.view("task_struct", kernel.sched.current.address).cred
    error = to_int(await kernel.call_guest(view.get("init"), sub_info, cred)) if view.get("init") else 0
    if not error:
        kernel[UserModeHelpers].record(view.path, view.argv, view.envp)
    if view.cleanup:
        await kernel.call_guest(view.cleanup, sub_info)
    kernel.heap.kfree(sub_info)
    return error
