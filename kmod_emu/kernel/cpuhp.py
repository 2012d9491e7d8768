"""Being told of processors that come and go (kernel/cpu.c): there is one, and it stays."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kmod_emu.kernel.activation import to_int
from kmod_emu.kernel.exports import export, export_data
from kmod_emu.uapi import errno

if TYPE_CHECKING:
    from kmod_emu.kernel.kernel import KernelCore

# CPUHP_BP_PREPARE_DYN and CPUHP_AP_ONLINE_DYN of the releases: a free number behind it is given out.
_DYNAMIC = (61, 64, 67, 70, 186, 192, 201)
_NUMBERS = 20


class CpuStates:
    """Who is told at which step of a processor's way up: its `startup`, `teardown`, whether of many."""

    def __init__(self, kernel: KernelCore) -> None:
        self._kernel = kernel
        self.states: dict[int, tuple[int, int, bool]] = {}
        kernel.counted["processor states"] = lambda: len(self.states)

    async def setup(self, state: int, invoke: bool, startup: int, teardown: int, multi: bool) -> int:
        """__cpuhp_setup_state(): `startup` runs for the processor that is there."""
        number = state
        if state in _DYNAMIC:
            free = (number for number in range(state, state + _NUMBERS) if number not in self.states)
            number = next(free, 0)
            if not number:
                return -errno.ENOSPC
        elif state in self.states:
            return -errno.EBUSY
        self.states[number] = (startup, teardown, multi)
        if invoke and startup and not multi:
            error = to_int(await self._kernel.call_guest(startup, 0))
            if error:
                del self.states[number]
                return error
        return number if state in _DYNAMIC else 0

    async def remove(self, state: int, invoke: bool) -> None:
        """__cpuhp_remove_state(): `teardown` runs for it."""
        _, teardown, multi = self.states.pop(state, (0, 0, False))
        if invoke and teardown and not multi:
            await self._kernel.call_guest(teardown, 0)

    async def instance(self, state: int, node: int, invoke: bool, which: int) -> int:
        """One of many joins (0) or leaves (1): the function gets it."""
        function = self.states.get(state, (0, 0, False))[which]
        return to_int(await self._kernel.call_guest(function, 0, node)) if invoke and function else 0

    def save(self) -> Any:
        """State for a snapshot or file."""
        return [[number, *functions] for number, functions in self.states.items()]

    def load(self, state: Any) -> None:
        """Put saved state back."""
        self.states = {number: (startup, teardown, multi) for number, startup, teardown, multi in state}


def _declare(suffix: str) -> None:
    @export(
        f"int __cpuhp_setup_state{suffix}(enum cpuhp_state state, const char *name, bool invoke,"
        " int (*startup)(unsigned int), int (*teardown)(unsigned int), bool multi_instance)"
    )
    async def setup(
        kernel: KernelCore, state: int, name: int, invoke: int, startup: int, teardown: int, multi: int
    ) -> int:
        """Functions for a step of a processor's way."""
        return await kernel[CpuStates].setup(state, bool(invoke), startup, teardown, bool(multi))

    @export(f"void __cpuhp_remove_state{suffix}(enum cpuhp_state state, bool invoke)")
    async def remove(kernel: KernelCore, state: int, invoke: int) -> None:
        """They go."""
        await kernel[CpuStates].remove(state, bool(invoke))


for _suffix in ("", "_cpuslocked"):
    _declare(_suffix)


@export("int __cpuhp_state_add_instance(enum cpuhp_state state, struct hlist_node *node, bool invoke)")
async def __cpuhp_state_add_instance(kernel: KernelCore, state: int, node: int, invoke: int) -> int:
    """One of many that a step's functions get."""
    return await kernel[CpuStates].instance(state, node, bool(invoke), 0)


@export("int __cpuhp_state_remove_instance(enum cpuhp_state state, struct hlist_node *node, bool invoke)")
async def __cpuhp_state_remove_instance(kernel: KernelCore, state: int, node: int, invoke: int) -> int:
    """It goes."""
    await kernel[CpuStates].instance(state, node, bool(invoke), 1)
    return 0


def _declare_lock(name: str) -> None:
    @export(f"void cpus_read_{name}(void)")
    def lock(kernel: KernelCore) -> None:
        """Nobody comes or goes."""


for _name in ("lock", "unlock"):
    _declare_lock(_name)


@export_data("bool cpuhp_tasks_frozen", 1)
def cpuhp_tasks_frozen(kernel: KernelCore, address: int) -> None:
    """The machine does not go to sleep."""
