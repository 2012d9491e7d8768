"""What each shipped sample does on the machine, as Linux 6.1 does it (SPEC A8, A9, A10, D4, E, H)."""

from __future__ import annotations

import errno
import json
import re
import subprocess
import sys
import zlib
from dataclasses import dataclass

import pytest

from kmod_emu import Kernel, KernelError, samples

MODULES_START = 0xFFFFFFFFC0000000
MODULES_END = 0xFFFFFFFFFF000000
DIRECT_MAP_START = 0xFFFF888000000000


def taint_lines(name: str) -> list[str]:
    """What the first unsigned out-of-tree module of a boot makes the kernel say."""
    return [
        f"{name}: loading out-of-tree module taints kernel.",
        f"{name}: module verification failed: signature and/or required key missing - tainting kernel",
    ]


@dataclass(frozen=True)
class Loads:
    """A sample that is loaded: the lines of its init, what init returned, the lines of its exit."""

    name: str
    init: tuple[str, ...]
    exit: tuple[str, ...] = ()
    args: str = ""
    init_rc: int | None = 0

    def __str__(self) -> str:
        return f"{self.name} {self.args}".strip()


@dataclass(frozen=True)
class Refused:
    """A sample that is not loaded: the errno of init_module(2), and the lines after the taint lines."""

    name: str
    errno: int
    lines: tuple[str, ...]
    args: str = ""

    def __str__(self) -> str:
        return f"{self.name} {self.args}".strip()


PURESYM_REST = (
    "puresym: kstrtoint -22",
    "puresym: rbtree 4 5 9 15 26 31",
    "puresym: sort 4 5 9 15 26 31",
    "puresym: bitmap 60-69,127, weight 11, first 60, first zero after 60 70",
)


def puresym_lines(text: str, err: int, number: int) -> tuple[str, ...]:
    return (
        f"puresym: strlen {len(text)}",
        f"puresym: kstrtoint {err}, number {number}",
        PURESYM_REST[0],
        f"puresym: crc32 {zlib.crc32(text.encode()):08x}",
        *PURESYM_REST[1:],
    )


MEMORY = (
    "memory: caller is insmod, its stack of 16384 bytes holds our variable: 1",
    "memory: kmalloc: __va(__pa(p)) is p: 1, page_address(virt_to_page(p)) is its page: 1",
    "memory: alloc_page: __va(__pa(p)) is p: 1, page_address(virt_to_page(p)) is its page: 1",
    "memory: through another mapping",
    "memory: vmalloc area ends in 'x', and is one: 1",
)

LOADS = [
    Loads("memory", MEMORY, ("memory: all given back",)),
    Loads("hello", ("Hello world!",), ("Cleaning up module.",)),
    Loads("noinit", (), init_rc=None),
    Loads("ownname", ("ownname: made from ret1.c",), ("ownname: goodbye",)),
    Loads("puresym", puresym_lines("123456789", 0, 123456789)),
    Loads("puresym", puresym_lines("99999999999", -errno.ERANGE, 0), args="text=99999999999"),
    Loads(
        "params",
        (
            "params: count=1 size=16 verbose=0 whom=world level=3",
            "params: values[0]=1",
            "params: values[1]=2",
        ),
        ("params: goodbye, world",),
    ),
    Loads(
        "params",
        (
            'params: level_set("7")',
            "params: count=-5 size=32 verbose=1 whom=students level=7",
            "params: values[0]=3",
            "params: values[1]=1",
            "params: values[2]=4",
        ),
        ("params: goodbye, students",),
        args="count=-5 size=0x20 verbose whom=students values=3,1,4 level=7",
    ),
    Loads(
        "params",
        (
            "params: unknown parameter 'colour' ignored",
            "params: count=1 size=16 verbose=0 whom=two words level=3",
            "params: values[0]=9",
        ),
        ("params: goodbye, two words",),
        args='colour=blue whom="two words" values=9 verbose=no',
    ),
]

REFUSED = [
    Refused("ret_minus1", errno.EPERM, ("ret_minus1: init runs and returns -1",)),
    Refused("ret_enodev", errno.ENODEV, ("ret_enodev: init runs and returns -ENODEV",)),
    Refused("params", errno.EINVAL, ("params: `many' invalid for parameter `count'",), "count=many"),
    Refused(
        "params", errno.ERANGE, ("params: `2147483648' invalid for parameter `count'",), "count=2147483648"
    ),
    Refused("params", errno.EINVAL, ("params: `-1' invalid for parameter `size'",), "size=-1"),
    Refused("params", errno.EINVAL, ("params: `' invalid for parameter `whom'",), "whom"),
    Refused(
        "params",
        errno.ERANGE,
        ('params: level_set("11")', "params: `11' invalid for parameter `level'"),
        "level=11",
    ),
    Refused(
        "params",
        errno.EINVAL,
        ("values: can only take 4 arguments", "params: `1' invalid for parameter `values'"),
        "values=1,2,3,4,5",
    ),
    Refused(
        "params",
        errno.ERANGE,
        (
            "params: `x' invalid for parameter `count'",
            'params: level_set("7")',
            'params: level_set("99")',
            "params: `99' invalid for parameter `level'",
        ),
        "count=x level=7 level=99",
    ),
]


@pytest.fixture
def kernel() -> Kernel:
    return Kernel()


def loaded(kernel: Kernel) -> list[str]:
    return [module.name for module in kernel.modules]


def run_json(name: str, *options: str) -> tuple[int, dict[str, object], list[str]]:
    """`kmod-emu run NAME --json` in a process of its own: exit status, the object, its dmesg."""
    script = "from kmod_emu.cli.main import main; main()"
    command = [sys.executable, "-c", script, "run", name, "--json", *options]
    process = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    report = json.loads(process.stdout)
    return process.returncode, report, report["dmesg"]


@pytest.mark.parametrize("sample", LOADS, ids=str)
def test_sample_loads_and_goes(kernel: Kernel, sample: Loads) -> None:
    boot = len(kernel.dmesg())
    module = kernel.insmod(samples.path(sample.name), sample.args)
    assert (module.name, module.refcnt, module.init_rc) == (sample.name, 0, sample.init_rc)
    assert loaded(kernel) == [sample.name]
    before_exit = len(kernel.dmesg())
    assert kernel.dmesg()[boot:] == [*taint_lines(sample.name), *sample.init]

    kernel.rmmod(sample.name)
    assert kernel.dmesg()[before_exit:] == list(sample.exit)
    assert loaded(kernel) == []


@pytest.mark.parametrize("sample", REFUSED, ids=str)
def test_sample_is_refused_and_leaves_only_its_lines(kernel: Kernel, sample: Refused) -> None:
    boot = len(kernel.dmesg())
    with pytest.raises(KernelError) as caught:
        kernel.insmod(samples.path(sample.name), sample.args)
    assert caught.value.errno == sample.errno
    assert kernel.dmesg()[boot:] == [*taint_lines(sample.name), *sample.lines]
    assert loaded(kernel) == []


def test_the_kernel_is_tainted_once_a_boot(kernel: Kernel) -> None:
    kernel.insmod(samples.path("hello"))
    lines = len(kernel.dmesg())
    kernel.insmod(samples.path("ownname"))
    assert kernel.dmesg()[lines:] == ["ownname: made from ret1.c"]
    assert loaded(kernel) == ["ownname", "hello"]


def test_a_second_load_of_the_same_name_is_refused_silently(kernel: Kernel) -> None:
    kernel.insmod(samples.path("hello"))
    lines = kernel.dmesg()
    with pytest.raises(KernelError) as caught:
        kernel.insmod(samples.path("hello"))
    assert caught.value.errno == errno.EEXIST
    assert kernel.dmesg() == lines


def test_a_positive_return_is_complained_about_and_loaded(kernel: Kernel) -> None:
    boot = len(kernel.dmesg())
    module = kernel.insmod(samples.path("ret_plus5"))
    assert module.init_rc == 5
    assert loaded(kernel) == ["ret_plus5"]
    lines = kernel.dmesg()[boot:]
    assert lines[:5] == [
        *taint_lines("ret_plus5"),
        "ret_plus5: init runs and returns 5",
        "do_init_module: 'ret_plus5'->init suspiciously returned 5, it should follow 0/-E convention",
        "do_init_module: loading module anyway...",
    ]
    assert "Call Trace:" in lines[5:]
    kernel.rmmod("ret_plus5")
    assert kernel.dmesg()[-1] == "ret_plus5: exit runs"


def test_a_module_without_exit_cannot_be_removed(kernel: Kernel) -> None:
    boot = len(kernel.dmesg())
    kernel.insmod(samples.path("noexit"))
    lines = kernel.dmesg()
    assert lines[boot:] == [*taint_lines("noexit"), "noexit: here to stay"]
    with pytest.raises(KernelError) as caught:
        kernel.rmmod("noexit")
    assert caught.value.errno == errno.EBUSY
    assert kernel.dmesg() == lines
    assert loaded(kernel) == ["noexit"]


def test_the_ring_of_modules_shows_the_newest_first_and_its_head(kernel: Kernel) -> None:
    head = "lists: (head of the list, in the base kernel)"
    kernel.insmod(samples.path("hello"))
    lines = len(kernel.dmesg())
    kernel.insmod(samples.path("lists"))
    assert kernel.dmesg()[lines:] == [
        "lists: lists is coming, 1 references",
        "lists: hello is live, 0 references",
        head,
    ]
    lines = len(kernel.dmesg())
    kernel.insmod(samples.path("noinit"))
    kernel.rmmod("lists")
    assert kernel.dmesg()[lines:] == [
        "lists: lists is going, -1 references",
        "lists: hello is live, 0 references",
        head,
        "lists: noinit is live, 0 references",
    ]


def test_globals_lie_where_their_sections_were_laid_out(kernel: Kernel) -> None:
    boot = len(kernel.dmesg())
    kernel.insmod(samples.path("globals"))
    found: dict[str, tuple[int, str]] = {}
    for line in kernel.dmesg()[boot + 2 :]:
        match = re.fullmatch(r"globals: (.+?) +([0-9a-f]{16})(?: = (\d+))?", line)
        assert match, line
        found[match[1]] = int(match[2], 16), match[3]
    assert {where: value for where, (_, value) in found.items()} == {
        ".init.text": None,
        ".data": "11",
        ".bss": "1",
        ".rodata": "22",
        "static": "34",
        "__initdata": "44",
        "__ro_after_init": "66",
        "per CPU": "77",
        "stack": "55",
    }
    address = {where: value[0] for where, value in found.items()}
    for where in (".init.text", ".data", ".bss", ".rodata", "static", "__initdata", "__ro_after_init"):
        assert MODULES_START <= address[where] < MODULES_END, where
    for where in ("per CPU", "stack"):
        assert DIRECT_MAP_START <= address[where] < MODULES_START, where

    # Core: constants, then what is sealed, then data, each on pages of its own; init apart from all.
    pages = [address[where] >> 12 for where in (".rodata", "__ro_after_init", ".data")]
    assert pages == sorted(set(pages))
    assert address[".data"] >> 12 == address["static"] >> 12
    init_pages = {address[".init.text"] >> 12, address["__initdata"] >> 12}
    assert not init_pages & {*pages, address[".bss"] >> 12}

    kernel.rmmod("globals")
    assert kernel.dmesg()[-1] == "globals: sealed is still 66, per CPU is still 77"


def test_a_warning_is_reported_between_the_module_s_lines(kernel: Kernel) -> None:
    boot = len(kernel.dmesg())
    kernel.insmod(samples.path("warn"))
    lines = kernel.dmesg()[boot + 2 :]
    assert lines[:2] == ["warn: before", "------------[ cut here ]------------"]
    assert re.fullmatch(
        r"WARNING: CPU: 0 PID: \d+ at samples/warn/warn\.c:11 warn_init\+0x[0-9a-f]+/0x[0-9a-f]+ \[warn\]",
        lines[2],
    )
    assert lines[3] == "Modules linked in: warn(OE+)"
    assert lines[-2:] == ["---[ end trace 0000000000000000 ]---", "warn: after"]
    assert loaded(kernel) == ["warn"]


def test_a_null_pointer_kills_the_loader_with_an_oops() -> None:
    status, report, dmesg = run_json("oops_null")
    assert status == 3
    assert report["init_rc"] is None
    start = dmesg.index("oops_null: about to write to 0000000000000000")
    assert dmesg[start + 1 : start + 4] == [
        "BUG: kernel NULL pointer dereference, address: 0000000000000000",
        "#PF: supervisor write access in kernel mode",
        "#PF: error_code(0x0002) - not-present page",
    ]
    rip = r"RIP: 0010:oops_null_init\+0x1a/0x[0-9a-f]+ \[oops_null\]"
    assert any(re.fullmatch(rip, line) for line in dmesg)
    assert "oops_null: never printed" not in dmesg


def test_a_module_that_never_returns_is_a_soft_lockup_not_a_hang() -> None:
    status, report, dmesg = run_json("spin", "--time-limit", "2")
    assert status != 0
    assert report["init_rc"] is None
    start = dmesg.index("spin: going round and round")
    assert re.fullmatch(
        r"watchdog: BUG: soft lockup - CPU#0 stuck for \d+s! \[\S+:\d+\]",
        dmesg[start + 1],
    )
    assert any(re.match(r"RIP: 0010:spin_init\+0x[0-9a-f]+/0x[0-9a-f]+ \[spin\]", line) for line in dmesg)
