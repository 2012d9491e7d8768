"""Functions that are called later by a worker, so that init does not wait for them (kernel/async.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kmod_emu.abi import lists
from kmod_emu.kernel.exports import export

if TYPE_CHECKING:
    from kmod_emu.kernel.kernel import KernelCore

_NO_POOL = 0xF_FFFF_FFE0  # WORK_STRUCT_NO_POOL
_ALL = (1 << 64) - 1


class AsyncCalls:
    """What is scheduled and has not returned: address of its work -> cookie, function, argument, domain."""

    def __init__(self) -> None:
        self.last = 0
        self.pending: dict[int, tuple[int, int, int, int]] = {}

    def save(self) -> Any:
        """State for a snapshot or file."""
        return [self.last, list(self.pending.items())]

    def load(self, state: Any) -> None:
        """Put saved state back."""
        self.last, self.pending = state[0], {work: tuple(call) for work, call in state[1]}

    def schedule(self, kernel: KernelCore, func: int, data: int, domain: int) -> int:
        """Give it to a worker; its cookie."""
        work = kernel.view("work_struct", kernel.heap.kmalloc(kernel.profile.struct("work_struct").size))
        work.data, work.func = _NO_POOL, kernel.symbol("async_run_entry_fn")
        lists.init(kernel.memory, work.addressof("entry"))
        self.last += 1
        self.pending[work.address] = (self.last, func, data, domain)
        kernel.workqueues.queue(kernel.memory.read_u64(kernel.symbol("system_unbound_wq")), work.address)
        return self.last

    async def synchronize(self, kernel: KernelCore, cookie: int, domain: int | None) -> None:
        """Wait for all, or all of a domain, that have a cookie below this one."""

        def first() -> int:
            found = (
                work for work, (own, _, _, its) in self.pending.items()
                if own < cookie and domain in (None, its)
            )  # fmt: skip
            return next(found, 0)

        while work := first():
            await kernel.call_guest(kernel.symbol("flush_work"), work)


@export("void async_run_entry_fn(struct work_struct *work)")
async def async_run_entry_fn(kernel: KernelCore, work: int) -> None:
    """A worker's side."""
    cookie, func, data, _ = kernel[AsyncCalls].pending[work]
    await kernel.call_guest(func, data, cookie)
    del kernel[AsyncCalls].pending[work]
    kernel.heap.kfree(work)


@export("async_cookie_t async_schedule_node(async_func_t func, void *data, int node)")
def async_schedule_node(kernel: KernelCore, func: int, data: int, node: int) -> int:
    """Call a function later (kernel/async.c)."""
    return kernel[AsyncCalls].schedule(kernel, func, data, 0)


@export(
    "async_cookie_t async_schedule_node_domain(async_func_t func, void *data, int node,"
    " struct async_domain *domain)"
)
def async_schedule_node_domain(kernel: KernelCore, func: int, data: int, node: int, domain: int) -> int:
    """Likewise, of a domain (kernel/async.c)."""
    return kernel[AsyncCalls].schedule(kernel, func, data, domain)


@export("void async_synchronize_full(void)")
async def async_synchronize_full(kernel: KernelCore) -> None:
    """Wait for all of them (kernel/async.c)."""
    await kernel[AsyncCalls].synchronize(kernel, _ALL, None)


@export("void async_synchronize_full_domain(struct async_domain *domain)")
async def async_synchronize_full_domain(kernel: KernelCore, domain: int) -> None:
    """For those of a domain (kernel/async.c)."""
    await kernel[AsyncCalls].synchronize(kernel, _ALL, domain)


@export("void async_synchronize_cookie(async_cookie_t cookie)")
async def async_synchronize_cookie(kernel: KernelCore, cookie: int) -> None:
    """For those that were scheduled before one (kernel/async.c)."""
    await kernel[AsyncCalls].synchronize(kernel, cookie, 0)


@export("void async_synchronize_cookie_domain(async_cookie_t cookie, struct async_domain *domain)")
async def async_synchronize_cookie_domain(kernel: KernelCore, cookie: int, domain: int) -> None:
    """Both (kernel/async.c)."""
    await kernel[AsyncCalls].synchronize(kernel, cookie, domain)
