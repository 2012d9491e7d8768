"""`monitor` commands: what gdb has no word for."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from kmod_emu.debug.debugger import Debugger
    from kmod_emu.debug.place import Place

_HELP = {
    "dmesg": "the kernel log",
    "lsmod": "modules, sizes and users",
    "ksyms [WORD]": "symbols whose name contains WORD, with their addresses",
    "tasks": "all tasks, and where they are",
    "snapshot": "remember this moment",
    "restore N": "go to a moment that was remembered",
    "help": "these lines",
}


class Monitor:
    """Answers the commands of one client."""

    def __init__(self, debugger: Debugger) -> None:
        self._debugger = debugger
        self._moments: list[Place] = []
        self._commands: dict[str, Callable[[list[str]], str]] = {
            "dmesg": lambda words: debugger.kernel.printk.dmesg(),
            "lsmod": self._lsmod,
            "ksyms": self._ksyms,
            "tasks": self._tasks,
            "snapshot": self._snapshot,
            "restore": self._restore,
            "help": lambda words: "".join(f"{name:14}{text}\n" for name, text in _HELP.items()),
        }

    def run(self, text: str) -> str:
        """Run one line; what it prints."""
        name, *words = text.split() or ["help"]
        matching = [command for command in self._commands if command.startswith(name)]
        if len(matching) != 1 and name not in matching:
            return f"there is no monitor command {name!r}; `monitor help` lists them\n"
        return self._commands[name if name in matching else matching[0]](words)

    def _lsmod(self, words: list[str]) -> str:
        from kmod_emu.kmod.lsmod import lsmod

        return lsmod(self._debugger.kernel)

    def _ksyms(self, words: list[str]) -> str:
        from kmod_emu.module.modules import Modules

        kernel, word = self._debugger.kernel, words[0] if words else ""
        rows = [(address, letter, name, "") for address, letter, name in kernel.symbols.listing()]
        for module in kernel[Modules]:
            rows += [
                (address, letter, name, f"\t[{module.name}]") for address, letter, name in module.symbols
            ]
        return "".join(
            f"{address:016x} {letter} {name}{owner}\n"
            for address, letter, name, owner in rows
            if name and word in name
        )

    def _tasks(self, words: list[str]) -> str:
        debugger = self._debugger
        lines = []
        for task in debugger.tasks:
            rip = debugger.registers(task)["rip"]
            mark = "*" if task is debugger.task else " "
            state = "runs" if task is debugger.task else "sleeps" if task.asleep or task.blocked else "waits"
            lines.append(f"{mark}{task.pid:6} {task.comm:16} {state:7} {debugger.kernel.describe(rip)}\n")
        return "".join(lines)

    def _snapshot(self, words: list[str]) -> str:
        if self._debugger.ended:
            return "the run has ended: there is no moment to remember\n"
        self._moments.append(self._debugger.place)
        return f"snapshot {len(self._moments)}: `monitor restore {len(self._moments)}` comes back here\n"

    def _restore(self, words: list[str]) -> str:
        number = int(words[0]) if words and words[0].isdigit() else 0
        if not 0 < number <= len(self._moments):
            return f"there is no snapshot {' '.join(words) or '0'}; there are {len(self._moments)}\n"
        self._debugger.go(self._moments[number - 1])
        return "done; gdb learns of it by `maintenance flush register-cache`\n"
