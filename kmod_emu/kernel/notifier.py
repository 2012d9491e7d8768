"""Notifier chains: lists of guest callbacks in order of priority (kernel/notifier.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kmod_emu.errors import KernelError
from kmod_emu.kernel.activation import to_int
from kmod_emu.kernel.exports import export
from kmod_emu.uapi import errno

if TYPE_CHECKING:
    from kmod_emu.kernel.kernel import KernelCore

NOTIFY_DONE = 0
NOTIFY_STOP_MASK = 0x8000


def notifier_to_errno(result: int) -> int:
    """The negative errno in a notifier's return value, or 0 (include/linux/notifier.h).

    >>> notifier_to_errno(0x8000 | (1 + 12))
    -12
    """
    value = result & ~NOTIFY_STOP_MASK
    return 1 - value if value > 1 else 0


class Notifiers:
    """The kernel's own chains, by name; each holds addresses of guest `struct notifier_block`."""

    def __init__(self, kernel: KernelCore) -> None:
        self._kernel = kernel
        self._chains: dict[str, list[int]] = {}

    def register(self, chain: str, block: int) -> int:
        """Add a block behind those of the same or higher priority (notifier_chain_register).

        Raises:
            KernelError: EEXIST, it is registered already.
        """
        blocks = self._chains.setdefault(chain, [])
        if block in blocks:
            raise KernelError(errno.EEXIST, f"this notifier is already in the {chain} chain")
        priority = self._priority(block)
        index = next((i for i, other in enumerate(blocks) if self._priority(other) < priority), len(blocks))
        blocks.insert(index, block)
        return 0

    def unregister(self, chain: str, block: int) -> int:
        """Remove a block.

        Raises:
            KernelError: ENOENT, it is not registered.
        """
        blocks = self._chains.get(chain, [])
        if block not in blocks:
            raise KernelError(errno.ENOENT, f"this notifier is not in the {chain} chain")
        blocks.remove(block)
        return 0

    async def call(self, chain: str, event: int, data: int, limit: int | None = None) -> tuple[int, int]:
        """Call all blocks until one says stop (notifier_call_chain).

        Returns:
            The last block's return value, and how many were called.
        """
        result, called = NOTIFY_DONE, 0
        listeners = len(self._chains.get(chain, []))
        self._kernel.events.emit(
            "notifier_chain", chain=chain, event=getattr(event, "name", event), listeners=listeners
        )
        for block in list(self._chains.get(chain, []))[:limit]:
            called += 1
            function = self._kernel.memory.read_u64(block)
            self._kernel.events.emit("notifier", function=function, symbol=self._kernel.describe(function))
            result = to_int(await self._kernel.call_guest(function, block, event, data))
            if result & NOTIFY_STOP_MASK:
                break
        return result, called

    async def call_robust(self, chain: str, up: int, down: int, data: int) -> int:
        """Call with `up`; if one refuses, tell those before it `down` (notifier_call_chain_robust).

        Returns:
            0 or a negative errno.
        """
        result, called = await self.call(chain, up, data)
        if result & NOTIFY_STOP_MASK:
            await self.call(chain, down, data, limit=called - 1)
        return notifier_to_errno(result)

    @property
    def registered(self) -> int:
        """Blocks in all chains."""
        return sum(map(len, self._chains.values()))

    def _priority(self, block: int) -> int:
        return to_int(self._kernel.memory.read_u32(block + 16))

    def save(self) -> Any:
        """State for a snapshot or file."""
        return {name: list(blocks) for name, blocks in self._chains.items()}

    def load(self, state: Any) -> None:
        """Put saved state back."""
        self._chains = {name: list(blocks) for name, blocks in state.items()}


@export("int register_module_notifier(struct notifier_block *nb)")
def register_module_notifier(kernel: KernelCore, nb: int) -> int:
    """Be told of modules coming and going (kernel/module/main.c)."""
    return kernel.notifiers.register("module", nb)


@export("int unregister_module_notifier(struct notifier_block *nb)")
def unregister_module_notifier(kernel: KernelCore, nb: int) -> int:
    """No longer be told (kernel/module/main.c)."""
    return kernel.notifiers.unregister("module", nb)
