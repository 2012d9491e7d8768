"""One module on two machines: which step of loading it user space did, and which the kernel, then and now.

Both machines are watched while they load it; the table is made of what they did.
"""

from __future__ import annotations

from collections.abc import Callable  # noqa: TC003 - a NamedTuple asks for it
from typing import TYPE_CHECKING, Any, NamedTuple

from kmod_emu.errors import KernelError
from kmod_emu.kernel.vsprintf import errname
from kmod_emu.kmod.errors import ToolError
from kmod_emu.observe.steps import plural, show

if TYPE_CHECKING:
    from pathlib import Path

    from kmod_emu.api import Kernel
    from kmod_emu.kernel.events import Event

USER, KERNEL = "insmod", "kernel"

Detail = dict[str, Any]
_SHOWN = 3


class Way(NamedTuple):
    """How a machine does a step: who, in which event, and that event's facts in words."""

    where: str
    event: str
    words: Callable[[Detail], str]


def _names(symbols: list[Detail]) -> str:
    shown = ", ".join(f"{show(symbol['name'])} = {symbol['address']:#x}" for symbol in symbols[:_SHOWN])
    return f"{shown}, ..." if len(symbols) > _SHOWN else shown


def _kinds(d: Detail) -> str:
    kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(d["by_type"].items()))
    return f"{plural(d['count'], 'place')}: {kinds}" if d["count"] else "nothing to patch"


def _regions(d: Detail) -> str:
    return ", ".join(f"{r['size']} bytes at {r['base']:#x} ({r['name']})" for r in d["regions"])


def _values(params: list[str]) -> str:
    return ", ".join(map(show, params)) or "none are given"


def _returned(d: Detail) -> str:
    rc = d.get("rc")
    if rc is None:
        return "never returned"
    return f"returned {rc}" + (f" ({errname(-rc) or 'no errno'})" if rc else "")


# Step -> how it was done in 2.4, and how since. What one event tells of may be two steps.
STEPS: tuple[tuple[str, Way, Way], ...] = (
    (
        "the file is checked",
        Way(USER, "classic_elf", lambda d: f"{d['size']} bytes: an ELF object with {d['sections']} sections"),
        Way(KERNEL, "elf_validity_check", lambda d: f"{d['size']} bytes: ELF with {d['sections']} sections"),
    ),
    (
        "is it for this kernel?",
        Way(USER, "classic_version", lambda d: f"it says {show(d['version'])}, the kernel is {d['kernel']}"),
        Way(KERNEL, "check_modinfo", lambda d: f"vermagic {show(d['vermagic']).strip()} fits"),
    ),
    (
        "symbols are looked up",
        Way(USER, "classic_resolve", lambda d: f"in answers of query_module(2): {_names(d['resolved'])}"),
        Way(KERNEL, "simplify_symbols", lambda d: f"in the kernel's own tables: {_names(d['resolved'])}"),
    ),
    (
        "sections get offsets",
        Way(USER, "classic_layout", lambda d: f"{d['size']} bytes in one piece, struct module first"),
        Way(KERNEL, "layout_and_allocate", lambda d: f"{plural(len(d['sections']), 'section')} in "
            f"{plural(len(d['regions']), 'region')}"),
    ),
    (
        "memory is reserved",
        Way(KERNEL, "classic_create_module", lambda d: f"create_module(2): {d['size']} bytes at "
            f"{d['address']:#x}"),
        Way(KERNEL, "layout_and_allocate", _regions),
    ),
    (
        "it enters the list",
        Way(KERNEL, "classic_create_module", lambda d: " -> ".join(["module_list", *map(show, d["list"]),
            "kernel_module"]) + ": singly linked, uninitialised"),
        Way(KERNEL, "add_unformed_module", lambda d: " <-> ".join(["modules", *map(show, d["list"])])
            + ": doubly linked, unformed"),
    ),
    (
        "references are patched",
        Way(USER, "classic_relocate", _kinds),
        Way(KERNEL, "apply_relocations", _kinds),
    ),
    (
        "parameters are set",
        Way(USER, "classic_parameters", lambda d: _values(d["params"])),
        Way(KERNEL, "parse_args", lambda d: _values([f"{p['name']}={p['value']}" for p in d["params"]])),
    ),
    (
        "bytes cross over",
        Way(KERNEL, "classic_copy_module_image", lambda d: f"{d['size']} bytes, linked and ready to run"),
        Way(KERNEL, "copy_module_from_user", lambda d: f"{d['size']} bytes, the file as it is"),
    ),
    (
        "init runs",
        Way(KERNEL, "classic_init", lambda d: f"init_module at {d['address']:#x} {_returned(d)}"),
        Way(KERNEL, "do_one_initcall", lambda d: f"{show(d['symbol'])} at {d['address']:#x} {_returned(d)}"),
    ),
)  # fmt: skip


class Side(NamedTuple):
    """How a machine did a step.

    Attributes:
        order: Its place among all that was seen of this machine; 0 if it did not come to that.
        where: USER or KERNEL; "" if it did not happen.
        detail: In a sentence.
    """

    order: int
    where: str
    detail: str


class Row(NamedTuple):
    """One step."""

    title: str
    classic: Side
    modern: Side

    @property
    def moved(self) -> bool:
        """Whether insmod did it once, and the kernel does now."""
        return (self.classic.where, self.modern.where) == (USER, KERNEL)


class Comparison(NamedTuple):
    """What both machines did.

    Attributes:
        rows: The ten steps.
        calls: System calls of each machine in order, as long as the module was being loaded.
        sizes: Bytes that each got through init_module(2).
        errors: Why a load failed, "" where it did not.
    """

    rows: list[Row]
    calls: dict[str, list[str]]
    sizes: dict[str, int]
    errors: dict[str, str]

    @property
    def moved(self) -> list[str]:
        """Titles of the steps that went from user space to the kernel."""
        return [row.title for row in self.rows if row.moved]


def watch(kernel: Kernel, load: Callable[[], object]) -> tuple[list[Event], str]:
    """What a machine does while something is loaded, and why that failed, "" if it did not."""
    events: list[Event] = []
    stop = kernel.events.listen(events.append)
    try:
        load()
    except ToolError as error:
        return events, str(error)
    except KernelError as error:
        return events, f"{error.strerror}: {error.explanation}"
    finally:
        stop()
    return events, ""


def compare(classic: Path, modern: Path) -> Comparison:
    """Load a module of each kind on a fresh machine of its kind.

    Raises:
        OSError: A file cannot be read.
    """
    from kmod_emu.api import Kernel
    from kmod_emu.classic.kernel import ClassicKernel

    old, new = ClassicKernel(), Kernel()
    image = modern.read_bytes()
    before, error = watch(old, lambda: old.insmod(classic))
    after, refusal = watch(new, lambda: new.insmod(image))
    rows = [Row(title, _side(before, then), _side(after, now)) for title, then, now in STEPS]
    return Comparison(
        rows,
        {"classic": _calls(before), "modern": _calls(after)},
        {
            "classic": _detail(before, "classic_copy_module_image").get("size", 0),
            "modern": _detail(after, "copy_module_from_user").get("size", 0),
        },
        {"classic": error, "modern": refusal},
    )


def _side(events: list[Event], way: Way) -> Side:
    results = [event.detail for event in events if event.name in ("classic_init_result", "initcall_result")]
    for order, event in enumerate(events, 1):
        if event.name == way.event:
            return Side(order, way.where, way.words({**event.detail, **(results[-1] if results else {})}))
    return Side(0, "", "")


def _detail(events: list[Event], name: str) -> dict[str, Any]:
    return next((event.detail for event in events if event.name == name), {})


def _calls(events: list[Event]) -> list[str]:
    return [event.detail["name"] for event in events if event.name == "syscall"]
