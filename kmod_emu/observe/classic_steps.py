"""The classic path in sentences: what insmod does in user space, and what of it the 2.4 kernel sees."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kmod_emu.kernel.vsprintf import errname
from kmod_emu.observe.steps import plural, show

if TYPE_CHECKING:
    from collections.abc import Callable

    Sentence = Callable[[dict[str, Any]], str]

_SHOWN = 4


def _resolved(d: dict[str, Any]) -> str:
    found = d["resolved"]
    names = ", ".join(
        f"{show(s['name'])} = {s['address']:#x}" + (f" of module {show(s['owner'])}" if s["owner"] else "")
        for s in found[:_SHOWN]
    )
    more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    missing = f"; unresolved: {', '.join(map(show, d['missing']))}" if d["missing"] else ""
    return f"insmod looks {plural(len(found), 'symbol')} up in the answers: {names}{more}{missing}"


def _layout(d: dict[str, Any]) -> str:
    parts = ", ".join(f"{show(s['name'])} at {s['offset']:#x}" for s in d["sections"] if s["size"])
    return f"insmod puts the sections behind each other, {d['size']} bytes, struct module first: {parts}"


def _relocated(d: dict[str, Any]) -> str:
    kinds = ", ".join(f"{count} {kind}" for kind, count in d["by_type"].items())
    calls = [place for place in d["places"] if place["section"].startswith(".text")][:2]
    shown = "; ".join(f"{show(p['section'])}+{p['offset']:#x} refers to {show(p['symbol'])}" for p in calls)
    own = f" and {d['own']} addresses that it added itself"
    return f"insmod patches its copy for {d['address']:#x}: {kinds or 'nothing'}{own}: {shown}".rstrip(": ")


def _image(d: dict[str, Any]) -> str:
    calls = (
        f"{name}_module at {d[name]:#x}" if d[name] else f"no {name}_module" for name in ("init", "cleanup")
    )
    return f"insmod fills in struct module: {d['size']} bytes, {', '.join(calls)}"


def _result(d: dict[str, Any]) -> str:
    rc = d["rc"]
    if not rc:
        return "the module's init_module() returned 0: success"
    name = errname(-rc) or "no errno"
    return f"the module's init_module() returned {rc} ({name}): uninitialised until insmod deletes it"


def _copied(d: dict[str, Any]) -> str:
    return (
        f"the kernel checks struct module ({d['header']} bytes) and copies the image, ready to run, "
        f"from {d['source']:#x} to {d['address']:#x}: {d['size']} bytes with "
        f"{plural(d['symbols'], 'exported symbol')}"
    )


def _created(d: dict[str, Any]) -> str:
    return (
        f"the kernel reserves {d['size']} bytes at {d['address']:#x} and puts them on the singly linked "
        f"list, uninitialised: {_list(d['list'])}"
    )


def _queried(d: dict[str, Any]) -> str:
    modules = plural(len(d["modules"]), "module")
    return (
        f"insmod asks for the names of {modules}, their {d['others']} symbols and the kernel's "
        f"{d['kernel']}: what /proc/ksyms lists"
    )


def _done(d: dict[str, Any]) -> str:
    return f"process {d['pid']} with {d['status']}; request_module({show(d['name'])!r}) returns 0 in any case"


def _list(names: list[str]) -> str:
    return " -> ".join(["module_list", *map(show, names), "kernel_module"])


def _asked(d: dict[str, Any]) -> str:
    how = "puts a message on kerneld's queue" if d["daemon"] else "starts /sbin/modprobe itself"
    who = show(d["comm"])
    return f"{who} ({d['pid']}) needs {show(d['name'])}: the kernel {how}, and {who} waits"


def _received(d: dict[str, Any]) -> str:
    child = f"process {d['child']}"
    does = f"waits for {child}, which loads that already" if d["shared"] else f"forks {child}"
    return f"kerneld ({d['pid']}) takes message {d['id']} off the queue: {show(d['text'])}; it {does}"


CLASSIC_STEPS: dict[str, tuple[str, Sentence]] = {
    "classic_query": ("query_module(2)", _queried),
    "classic_elf": (
        "insmod reads the object",
        lambda d: f"{show(d['path'])}, in user space: {d['size']} bytes, {d['sections']} sections",
    ),
    "classic_version": (
        "version",
        lambda d: f"insmod compares: compiled for {show(d['version'])}, the kernel is {d['kernel']}",
    ),
    "classic_resolve": ("symbol resolution", _resolved),
    "classic_parameters": (
        "parameters",
        lambda d: (
            f"insmod stores into its copy of the data: {', '.join(map(show, d['params']))}"
            if d["params"]
            else "no parameters given"
        ),
    ),
    "classic_layout": ("layout", _layout),
    "classic_create_module": ("create_module(2)", _created),
    "classic_relocate": ("relocation", _relocated),
    "classic_image": ("image finished", _image),
    "classic_copy_module_image": ("init_module(2)", _copied),
    "classic_link_references": (
        "references",
        lambda d: (
            f"{show(d['name'])} is entered as a user of {', '.join(map(show, d['uses']))}"
            if d["uses"]
            else f"{show(d['name'])} uses no other module"
        ),
    ),
    "classic_init": (
        "the module's init_module()",
        lambda d: (
            f"the processor runs the subroutine init_module of {show(d['name'])} at {d['address']:#x}: it "
            "shares its name with the system call, and nothing else"
        ),
    ),
    "classic_cleanup": (
        "the module's cleanup_module()",
        lambda d: f"the processor runs the subroutine of {show(d['name'])} at {d['address']:#x}",
    ),
    "classic_init_result": ("return value", _result),
    "classic_running": ("running", lambda d: f"{show(d['name'])} is in /proc/modules and lsmod"),
    "classic_free_module": (
        "module freed",
        lambda d: f"{show(d['name'])} is off the list, its memory is free: {_list(d['list'])}",
    ),
    "classic_autoclean": (
        "autoclean",
        lambda d: f"{show(d['name'])} {'goes' if d['freed'] else 'was used lately: it stays this time'}",
    ),
    "classic_request_module": ("request_module()", _asked),
    "classic_modprobe": ("modprobe starts", lambda d: f"process {d['pid']}: {show(d['command'])}"),
    "classic_run_insmod": ("modprobe runs insmod", lambda d: show(d["command"])),
    "classic_command": (
        "command of modules.conf",
        lambda d: f"{d['keyword']} {show(d['name'])}: {show(d['command'])} (shown, not run)",
    ),
    "classic_request_done": ("modprobe has ended", _done),
    "classic_kerneld_send": (
        "message to kerneld",
        lambda d: f"type {d['type']} (KERNELD_REQUEST_MODULE), id {d['id']}, text {show(d['text'])!r}",
    ),
    "classic_kerneld_receive": ("kerneld reads it", _received),
    "classic_kerneld_answer": (
        "kerneld answers",
        lambda d: (
            f"a message of type {d['id']}, status {d['status']}: who asked for {show(d['text'])} goes on"
        ),
    ),
    "classic_kerneld_timer": (
        "kerneld's alarm",
        lambda d: f"nothing was asked for in a while: kerneld ({d['pid']}) calls delete_module(NULL)",
    ),
}
