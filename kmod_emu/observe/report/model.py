"""What a report is made of: plain data, collected while the module runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from kmod_emu.drivers.table import dev_func_i_table
from kmod_emu.kernel import layout
from kmod_emu.module.modules import Modules
from kmod_emu.observe.relocations import relocations
from kmod_emu.observe.run import Run
from kmod_emu.observe.steps import describe
from kmod_emu.observe.trace.tracer import Tracer

if TYPE_CHECKING:
    from kmod_emu.api import Kernel
    from kmod_emu.kernel.events import Event
    from kmod_emu.module.modules import Module
    from kmod_emu.observe.trace.tracer import Record

MAX_STEPS, MAX_RELOCATIONS, MAX_CALLS, MAX_LINES = 500, 2_000, 5_000, 5_000
_OF_MEMORY = ("kmalloc", "__kmalloc", "kzalloc", "krealloc", "kvmalloc", "devm_kmalloc", "kstrdup", "kmemdup",
              "kmem_cache_", "vmalloc", "vzalloc", "__alloc_pages", "__get_free_pages",
              "kfree", "kvfree", "vfree", "__free_pages", "free_pages")  # fmt: skip


def collect(kernel: Kernel, path: str, params: str = "", uid: int = 0, seconds: float = 0) -> dict[str, Any]:
    """Load a module, remove it, and tell all about it: what `page` draws.

    Args:
        kernel: A fresh machine.
        path: Of the module's file.
        params: Its parameters.
        uid: Who calls insmod.
        seconds: Virtual time that passes before rmmod.

    Raises:
        ToolError: The file cannot be read.
    """
    collector = Collector(kernel, path)
    run = Run(kernel, path, params, uid)
    run.look()
    collector.loaded()
    kernel.advance(seconds)
    run.remove()
    return collector.finish(run)


class Collector:
    """A listener to one run.

    Attributes:
        steps: The steps of loading and unloading.
        calls: The tree of calls: text, result, source, instructions and what was called or logged in it.
        dropped: How many calls were left out.
    """

    def __init__(self, kernel: Kernel, path: str) -> None:
        self._kernel, self._path = kernel, Path(path)
        self.steps: list[dict[str, Any]] = []
        self.step_count = 0
        self.lookups: list[dict[str, Any]] = []
        self.relocations: list[dict[str, Any]] = []
        self.relocation_count = 0
        self.lists: list[dict[str, Any]] = [{"title": "before", "modules": self._modules()}]
        self.regions: list[dict[str, Any]] = []
        self.log: list[dict[str, Any]] = []
        self.memory: list[dict[str, Any]] = []
        self.held = [kernel.held()]
        self.devices: list[dict[str, Any]] = []
        self.calls: list[dict[str, Any]] = []
        self.dropped = 0
        self._count = 0
        self._open: dict[int, list[tuple[Record, dict[str, Any]]]] = {}
        self._sources: dict[str, list[str]] = {}
        self.tracer = Tracer(kernel, [self], ("function", "export", "syscall"))
        kernel.events.listen(self._event)

    # --- events -------------------------------------------------------------------------------------

    def _event(self, event: Event) -> None:
        step = describe(event)
        self.step_count += step is not None
        if step is not None and len(self.steps) < MAX_STEPS:
            self.steps.append({"name": step.name, "title": step.title, "detail": step.detail})
        collect = getattr(self, f"_on_{event.name}", None)
        if collect is not None:
            collect(event.detail)

    def _on_simplify_symbols(self, detail: dict[str, Any]) -> None:
        symbols = self._kernel.symbols
        for found in detail["resolved"]:
            known = symbols.find(found["name"]) if not found["owner"] else None
            self.lookups.append(
                {
                    **found,
                    "crc": known.crc if known else None,
                    "gpl": known.gpl if known else False,
                    "origin": known.origin.value if known else "module",
                }
            )

    def _on_apply_relocations(self, detail: dict[str, Any]) -> None:
        self.relocation_count += detail["count"]
        # Not `find`: the module is on the list, but unformed as yet.
        module = next((one for one in self._kernel[Modules] if one.name == detail["name"]), None)
        if module is not None and module.file:
            left = MAX_RELOCATIONS - len(self.relocations)
            self.relocations += [item._asdict() for item in relocations(self._kernel, module, left)]

    def _on_add_unformed_module(self, detail: dict[str, Any]) -> None:
        self.lists.append({"title": f"with {detail['name']}", "modules": self._modules()})

    def _on_complete_formation(self, detail: dict[str, Any]) -> None:
        module = self._kernel[Modules].find(detail["name"])
        if module is not None:
            self.regions += self._regions_of(module)

    def _on_free_module(self, detail: dict[str, Any]) -> None:
        self.lists.append({"title": f"without {detail['name']}", "modules": self._modules()})

    def _on_printk(self, detail: dict[str, Any]) -> None:
        task = self._kernel.sched.current
        stack = self._open.get(task.pid, ())
        source = next((record.source for record, _ in reversed(stack) if record.source), None)
        for line in detail["text"].decode("utf-8", "backslashreplace").split("\n"):
            if len(self.log) < MAX_LINES:
                self.log.append(
                    {
                        "time": self._kernel.clock.now_ns / 1e9,
                        "text": line,
                        "source": source,
                        "code": self._code(source),
                    }
                )

    def _code(self, source: str | None) -> str:
        """The source line, where the file is at hand: beside the module, or below the directory of now."""
        file, _, number = (source or "").rpartition(":")
        if not file:
            return ""
        if file not in self._sources:
            self._sources[file] = []
            for place in (self._path.parent / Path(file).name, Path(file)):
                if place.is_file():
                    self._sources[file] = place.read_text(errors="replace").splitlines()
                    break
        lines = self._sources[file]
        return lines[int(number) - 1].strip() if 0 < int(number) <= len(lines) else ""

    def _modules(self) -> list[dict[str, Any]]:
        return [{"name": module.name, "address": module.address} for module in self._kernel[Modules]]

    def _regions_of(self, module: Module) -> list[dict[str, Any]]:
        """Memory of a module by runs of pages with the same permissions, with the sections in each."""
        memory = self._kernel.memory
        runs: list[dict[str, Any]] = []
        for region in module.regions.values():
            arena = memory.arena_of(region.base)
            for page in range(region.base, region.base + region.size, 4096):
                perms = arena.perms[(page - arena.base) >> 12]
                last = runs[-1] if runs else None
                if last and last["bits"] == perms and last["end"] == page and last["region"] == region.name:
                    last["end"] = page + 4096
                else:
                    runs.append(
                        {
                            "region": region.name,
                            "module": module.name,
                            "start": page,
                            "end": page + 4096,
                            "bits": perms,
                        }
                    )
        for run in runs:
            run["perms"] = "".join(c if run["bits"] & 1 << i else "-" for i, c in enumerate("rwx"))
            run["sections"] = [
                {"name": name, "address": address, "size": size}
                for name, address, size in module.sections
                if run["start"] <= address < run["end"]
            ]
        return runs

    # --- calls --------------------------------------------------------------------------------------

    def enter(self, record: Record) -> None:
        """A call begins."""
        stack = self._open.setdefault(record.pid, [])
        node: dict[str, Any] = {
            "kind": record.kind,
            "name": record.name,
            "text": record.text if "(" in record.text else f"{record.text}()",
            "source": record.source,
            "task": f"{record.comm} ({record.pid})",
            "result": None,
            "instructions": 0,
            "calls": [],
        }
        if self._count < MAX_CALLS:
            self._count += 1
            (stack[-1][1]["calls"] if stack else self.calls).append(node)
        else:
            self.dropped += 1
        stack.append((record, node))

    def leave(self, record: Record) -> None:
        """It ends."""
        stack = self._open.get(record.pid)
        if not stack:
            return
        begun, node = stack.pop()
        node["result"], node["instructions"] = record.result, record.instructions
        if begun.name.startswith(_OF_MEMORY) and len(self.memory) < MAX_LINES:
            self.memory.append({"call": node["text"], "result": record.result, "source": begun.source})

    def point(self, record: Record) -> None:
        """Not asked for."""

    def close(self) -> None:
        """Nothing to do."""

    # --- moments ------------------------------------------------------------------------------------

    def loaded(self) -> None:
        """The module is loaded, or was refused."""
        self.held.append(self._kernel.held())
        self.devices = [row._asdict() for row in dev_func_i_table(self._kernel)]

    def finish(self, run: Run) -> dict[str, Any]:
        """The whole model."""
        self.tracer.finish()
        self.held.append(self._kernel.held())
        return {
            "module": run.name,
            "file": str(self._path),
            "release": self._kernel.profile.release,
            "status": run.status,
            "rc": -run.error.errno if run.error is not None else 0,
            "explanation": run.error.explanation if run.error is not None else "",
            "init_rc": run.module.init_rc if run.module is not None else None,
            "lsmod": run.listed,
            "steps": self.steps,
            "step_count": self.step_count,
            "lookups": self.lookups,
            "relocations": self.relocations,
            "relocation_count": self.relocation_count,
            "lists": self.lists,
            "space": self._space(),
            "regions": self.regions,
            "calls": self.calls,
            "dropped_calls": self.dropped,
            "log": self.log,
            "devices": self.devices,
            "memory": self.memory,
            "held": [
                {"what": what, "counts": [state[what] for state in self.held]}
                for what in self.held[0]
                if len({state[what] for state in self.held}) > 1
            ],
            "reports": [report["text"] for report in self._kernel.findings.reports],
        }

    def _space(self) -> list[dict[str, Any]]:
        """The parts of the kernel's address space, lowest first; sizes in bytes."""
        parts = [
            ("user space", 0, layout.TASK_SIZE_MAX, "each program's own"),
            ("direct map", layout.PAGE_OFFSET, layout.RAM_SIZE, "all RAM; the heap (kmalloc) is here"),
            (
                "vmalloc",
                layout.VMALLOC_START,
                layout.VMALLOC_SIZE,
                "vmalloc(), kernel stacks",
            ),
            (
                "base kernel",
                layout.START_KERNEL_MAP,
                layout.KERNEL_SIZE,
                "text and data",
            ),
            ("modules", layout.MODULES_VADDR, layout.MODULES_SIZE, "within 2 GB of the base kernel"),
        ]
        return [{"name": n, "start": s, "size": size, "what": what} for n, s, size, what in parts]
