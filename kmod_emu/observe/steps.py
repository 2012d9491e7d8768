"""What happened, in sentences: one place for the words of narrator, report and JSON.

Each event of a module load has a title, as courses name the step, and a function that makes a sentence from
the event's facts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from kmod_emu.kernel.vsprintf import errname
from kmod_emu.text import escape

if TYPE_CHECKING:
    from collections.abc import Callable

    from kmod_emu.kernel.events import Event

    Sentence = Callable[[dict[str, Any]], str]


class Step(NamedTuple):
    """One thing that happened, for a person.

    Attributes:
        name: The event's name, a kernel function's where there is one.
        title: What courses call it.
        detail: A sentence with what was checked or produced.
    """

    name: str
    title: str
    detail: str


def show(value: object) -> str:
    """Text that came from a module or a caller, harmless for a terminal."""
    raw = value if isinstance(value, bytes) else str(value).encode("utf-8", "surrogateescape")
    return escape(raw)


def plural(count: int, noun: str) -> str:
    """A number with its noun.

    >>> plural(1, "section"), plural(2, "section")
    ('1 section', '2 sections')
    """
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _copied(d: dict[str, Any]) -> str:
    if d["source"] is None:
        return f"kernel_read_file() brings {d['size']} bytes to temporary memory at {d['address']:#x}"
    return (
        f"vmalloc() gives temporary memory at {d['address']:#x}; copy_from_user() brings {d['size']} bytes "
        f"from user address {d['source']:#x}"
    )


def _layout(d: dict[str, Any]) -> str:
    parts = []
    for region in d["regions"]:
        inside = [s for s in d["sections"] if s["region"] == region["name"]]
        sizes = ", ".join(f"{size} {perms}" for perms, size in region["parts"].items())
        sizes = sizes.replace(" ", " bytes ", 1)
        parts.append(
            f"{region['name']}: {region['size']} bytes at {region['base']:#x} "
            f"({plural(len(inside), 'section')}; {sizes})"
        )
    return "; ".join(parts)


def _symbols(d: dict[str, Any]) -> str:
    found = d["resolved"]
    names = ", ".join(f"{show(s['name'])} = {s['address']:#x}" for s in found[:4])
    more = f" and {len(found) - 4} more" if len(found) > 4 else ""
    owners = sorted({show(s["owner"]) for s in found if s["owner"]})
    where = f" (from {', '.join(owners)} too)" if owners else ""
    imported = plural(len(found), "imported symbol")
    return f"{imported} found in the symbol table{where}: {names}{more}; {d['defined']} defined here"


def _relocations(d: dict[str, Any]) -> str:
    kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(d["by_type"].items()))
    sections = ", ".join(show(name) for name in d["sections"])
    return (
        f"{plural(d['count'], 'place')} patched ({kinds}) in {sections}" if d["count"] else "nothing to patch"
    )


def _patches(d: dict[str, Any]) -> str:
    done = ", ".join(f"{count} of {name}" for name, count in d["patches"].items() if count)
    return f"code suited to this processor: {done or 'nothing to change'}"


def _arguments(d: dict[str, Any]) -> str:
    text = show(d["text"])
    what = f'"{text}"' if text else "an empty string"
    when = "Linux 6.1 does it only now; older texts list it before the symbols"
    return f"{what} copied to {d['address']:#x} ({when})"


def _parameters(d: dict[str, Any]) -> str:
    pairs = ", ".join(f"{show(p['name'])} = {show(p['value'])}" for p in d["params"])
    return f"set by the module's own operations: {pairs}" if pairs else "no parameters given"


def _result(d: dict[str, Any]) -> str:
    rc = d["rc"]
    if rc == 0:
        return "init returned 0: success"
    if rc > 0:
        return f"init returned {rc}: neither 0 nor a negative errno; Linux warns and keeps the module"
    name = errname(-rc) or "no known errno"
    return (
        f"init returned {rc} ({name}): it did run, its lines are in dmesg, and the module is taken out again"
    )


def _permission(d: dict[str, Any]) -> str:
    if not d["capable"]:
        return f"uid {d['uid']} has no CAP_SYS_MODULE: refused"
    return f"uid {d['uid']} has CAP_SYS_MODULE" + (
        ", but modules are disabled: refused" if d["disabled"] else ""
    )


def _list(d: dict[str, Any]) -> str:
    chain = " <-> ".join(["modules", *(show(name) for name in d["list"])])
    return f"linked into the doubly linked list, still unformed: {chain}"


def _modinfo(d: dict[str, Any]) -> str:
    origin = "in-tree" if d["intree"] else "out-of-tree, which taints the kernel"
    magic = show(d["vermagic"]).strip() if d["vermagic"] is not None else "missing"
    return f"vermagic '{magic}' fits; licence {show(d['license'])}; {origin}"


def _requested(d: dict[str, Any]) -> str:
    then = "waits for it" if d["wait"] else "goes on meanwhile"
    return f"{show(d['comm'])} ({d['pid']}) has /sbin/modprobe -q -- {show(d['name'])} started and {then}"


def _modprobe_result(d: dict[str, Any]) -> str:
    result = d["result"]
    if result < 0:
        return f"{errname(-result) or 'an errno'}, it could not be started"
    if result == 0:
        return "it exited with 0" if d["wait"] else "it has begun"
    return f"it exited with {result >> 8}" if result >> 8 else f"signal {result} killed it"


STEPS: dict[str, tuple[str, Sentence]] = {
    "syscall": (
        "system call",
        lambda d: (
            f"{d['name']}({', '.join(f'{a:#x}' if a > 4096 else str(a) for a in d['arguments'])}) "
            f"enters the kernel: sys_{d['name']}()"
        ),
    ),
    "may_init_module": ("permission check", _permission),
    "copy_module_from_user": ("load_module(): temporary copy", _copied),
    "signature": ("signature", lambda d: f"the module is {d['outcome']}"),
    "elf_validity_check": (
        "ELF verification",
        lambda d: (
            f"{d['size']} bytes: magic, type {d['type']} (relocatable), machine {d['machine']} (x86-64) and "
            f"{plural(d['sections'], 'section header')} are good"
        ),
    ),
    "setup_load_info": (
        "ELF header parsed",
        lambda d: (
            f"module {show(d['name'])!r}: {plural(d['symbols'], 'symbol')}, {d['strings']} bytes of names"
        ),
    ),
    "check_modinfo": ("version and licence", _modinfo),
    "layout_and_allocate": ("layout: sections get offsets", _layout),
    "add_unformed_module": ("module list", _list),
    "simplify_symbols": ("symbol resolution", _symbols),
    "apply_relocations": ("relocation", _relocations),
    "post_relocation": ("finalisation", _patches),
    "module_args": ("module arguments", _arguments),
    "complete_formation": (
        "formation",
        lambda d: f"memory protected (no page is both writable and executable), state {d['state']}",
    ),
    "notifier_chain": (
        "notifiers",
        lambda d: f"the {d['chain']} chain is told {d['event']}: {plural(d['listeners'], 'listener')}",
    ),
    "notifier": (
        "notifier called",
        lambda d: f"{show(d['symbol'])} at {d['function']:#x}",
    ),
    "parse_args": ("parameters", _parameters),
    "mod_sysfs_setup": ("sysfs", lambda d: f"{show(d['path'])} appears"),
    "free_copy": ("temporary copy freed", lambda d: f"{d['size']} bytes at {d['address']:#x}"),
    "do_one_initcall": (
        "module_init() executed",
        lambda d: f"the processor runs {show(d['symbol'])} at {d['address']:#x}, stack {d['stack']:#x}",
    ),
    "initcall_result": ("return value", _result),
    "module_live": (
        "state LIVE",
        lambda d: f"{show(d['name'])} is in /proc/modules and lsmod",
    ),
    "free_init": ("init memory freed", lambda d: f"{d['size']} bytes: init code can never run again"),
    "load_failed": (
        "refused",
        lambda d: f"{errname(d['errno']) or 'errno'} ({d['errno']}): {show(d['explanation'])}",
    ),
    "sys_delete_module": ("sys_delete_module()", lambda d: f"{show(d['name'])}, flags {d['flags']:#x}"),
    "module_exit": (
        "module_exit() executed",
        lambda d: f"the processor runs {show(d['symbol'])} at {d['address']:#x}",
    ),
    "free_module": ("module freed", lambda d: f"{show(d['name'])} is off the list, its memory is free"),
    "request_module": ("request_module()", _requested),
    "request_module_result": (
        "modprobe ended",
        lambda d: f"request_module({show(d['name'])!r}) gives {d['result']}: {_modprobe_result(d)}",
    ),
    "register_chrdev": (
        "device table",
        lambda d: (
            f"major {d['major']}, minors 0-{d['minors'] - 1}, is entered for {show(d['name'])}: a row of"
            " function pointers, where a kernel without modules has a case of a switch"
        ),
    ),
    "probe": ("probe", lambda d: f"driver {show(d['driver'])} is asked for device {show(d['device'])}"),
    "uevent": ("uevent", lambda d: f"user space is told: {d['action']}@{show(d['path'])}"),
    "driver_returned_more": ("too much returned", lambda d: show(d["sentence"])),
    "unimplemented": ("not implemented", lambda d: f"{show(d['name'])} was used at {d['caller']:#x}"),
    "oops": ("oops", lambda d: show(d["text"])),
    "soft lockup": ("soft lockup", lambda d: show(d["text"])),
    "panic": ("panic", lambda d: show(d["text"])),
}


def describe(event: Event) -> Step | None:
    """The step that an event is, or None for one that is no step."""
    known = STEPS.get(event.name)
    if known is None and event.name.startswith("classic_"):
        from kmod_emu.observe.classic_steps import CLASSIC_STEPS

        known = CLASSIC_STEPS.get(event.name)
    if known is None:
        return None
    title, sentence = known
    return Step(event.name, title, sentence(event.detail))
