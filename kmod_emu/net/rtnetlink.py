"""The lock of network configuration, and handlers of its messages (net/core/rtnetlink.c).

Handlers are taken and not called: no program can send such a message here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.kernel.exports import Fidelity, export, export_data
from kmod_emu.kernel.locking import init_lock, mutex_is_locked, mutex_lock, mutex_unlock
from kmod_emu.kernel.standin import declare_answers

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from kmod_emu.kernel.kernel import KernelCore


class Rtnl:
    """Who uses the lock.

    Attributes:
        todo: What is to be done whenever it has been given back.
    """

    def __init__(self) -> None:
        self.todo: Callable[[], Awaitable[None]] | None = None


@export_data("struct mutex rtnl_mutex", lambda kernel: kernel.profile.struct("mutex").size)
def rtnl_mutex(kernel: KernelCore, address: int) -> None:
    """The lock."""
    init_lock(kernel, "mutex", address)


@export("void rtnl_lock(void)")
async def rtnl_lock(kernel: KernelCore) -> None:
    """Take it."""
    await mutex_lock(kernel, kernel.symbol("rtnl_mutex"))


@export("void rtnl_unlock(void)")
async def rtnl_unlock(kernel: KernelCore) -> None:
    """Give it back: what is left of devices that went meanwhile goes, too."""
    mutex_unlock(kernel, kernel.symbol("rtnl_mutex"))
    if (todo := kernel[Rtnl].todo) is not None:
        await todo()


@export("int rtnl_trylock(void)")
async def rtnl_trylock(kernel: KernelCore) -> int:
    """Take it if it is free: 1."""
    if mutex_is_locked(kernel, kernel.symbol("rtnl_mutex")):
        return 0
    await rtnl_lock(kernel)
    return 1


@export("int rtnl_is_locked(void)")
def rtnl_is_locked(kernel: KernelCore) -> int:
    """Whether anybody has it."""
    return int(mutex_is_locked(kernel, kernel.symbol("rtnl_mutex")))


declare_answers(
    __name__,
    {
        "int rtnl_register_module(struct module *owner, int protocol, int msgtype, rtnl_doit_func doit,"
        " rtnl_dumpit_func dumpit, unsigned int flags)": 0,
        "int __rtnl_register_many(const struct rtnl_msg_handler *handlers, int n)": 0,
        "void __rtnl_unregister_many(const struct rtnl_msg_handler *handlers, int n)": 0,
        "int rtnl_unregister(int protocol, int msgtype)": 0,
        "void rtnl_unregister_all(int protocol)": 0,
    },
    Fidelity.REGISTRATION,
)
