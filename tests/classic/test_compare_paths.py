"""kmod-emu compare-paths, and the narrator on the classic path."""

import json

import pytest

from kmod_emu import samples
from kmod_emu.observe.compare_paths import KERNEL, USER, compare

MOVED = [
    "the file is checked",
    "is it for this kernel?",
    "symbols are looked up",
    "sections get offsets",
    "references are patched",
    "parameters are set",
]


@pytest.fixture(scope="module")
def hello():
    return compare(samples.classic("hello"), samples.path("hello"))


def test_what_moved(hello):
    assert hello.moved == MOVED
    assert [row.classic.where for row in hello.rows] == [USER] * 4 + [KERNEL] * 2 + [USER] * 2 + [KERNEL] * 2
    assert {row.modern.where for row in hello.rows} == {KERNEL}


def test_it_is_what_the_machines_did(hello):
    assert hello.calls == {
        "classic": ["query_module"] * 3 + ["create_module", "init_module"],
        "modern": ["init_module"],
    }
    assert hello.sizes["modern"] == samples.path("hello").stat().st_size
    details = {row.title: (row.classic.detail, row.modern.detail) for row in hello.rows}
    assert details["it enters the list"] == (
        "module_list -> hello -> kernel_module: singly linked, uninitialised",
        "modules <-> hello: doubly linked, unformed",
    )
    assert details["references are patched"][0] == "4 places: 2 R_X86_64_32S, 2 R_X86_64_PLT32"
    assert details["bytes cross over"][0] == f"{hello.sizes['classic']} bytes, linked and ready to run"
    orders = [row.classic.order for row in hello.rows]
    assert orders.index(max(orders)) == 9, "init runs last"


def test_the_table(cli):
    result = cli("compare-paths", "hello")
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[0].split() == ["insmod", "hello", "Linux", "2.4", "Linux", "2.6", "and", "later"]
    assert [line[:2].strip() for line in lines if line[:2].strip().isdecimal()] == [
        str(n) for n in range(1, 11)
    ]
    assert "Linux 2.4: query_module (3 times), create_module, init_module; " in result.stdout
    assert f"Moved from insmod to the kernel: {', '.join(MOVED)}." == " ".join(lines[-2:])
    assert max(map(len, lines)) <= 120


def test_json(cli):
    report = json.loads(cli("compare-paths", "params", "--json").stdout)
    assert report["moved"] == MOVED
    assert len(report["steps"]) == 10


def test_files(cli):
    assert cli("compare-paths", samples.classic("fat"), samples.path("hello")).exit_code == 0


def test_what_cannot_be_compared(cli, tmp_path):
    assert "no classic sample is called 'irq'" in cli("compare-paths", "irq").stderr
    assert "no sample is called 'fat'" in cli("compare-paths", "fat").stderr
    assert cli("compare-paths", "hello", "./x.ko").stderr == "kmod-emu: x.ko: No such file or directory\n"


def test_loads_that_fail_are_compared_as_far_as_they_go(cli, tmp_path):
    (tmp_path / "x.o").write_bytes(b"")
    result = cli("compare-paths", "./x.o", "./x.o")
    assert result.exit_code == 1
    assert "    x.o: cannot read ELF header from x.o\n" in result.stdout
    assert "    Exec format error: 0 bytes are less than an ELF header\n" in result.stdout
    assert result.stdout.count("(not done)") == 20
    assert result.stdout.endswith("Moved from insmod to the kernel: nothing.\n")
    report = json.loads(cli("compare-paths", "ret_enodev", "--json").stdout)
    last = report["steps"][-1]
    assert [last[side]["detail"].split(" returned ")[1] for side in ("classic", "modern")] == [
        "-19 (ENODEV)"
    ] * 2
    assert report["errors"]["classic"].endswith("ret_enodev.o: init_module: No such device")
    assert report["errors"]["modern"].startswith("No such device: init of ret_enodev returned -19")


def test_the_story_of_a_load(cli):
    result = cli("--classic", "run", "hello")
    assert result.exit_code == 0
    titles = [line[5:36].strip() for line in result.stdout.splitlines() if line[:3].strip().isdecimal()]
    assert titles[:16] == [
        "query_module(2)",
        "insmod reads the object",
        "version",
        "symbol resolution",
        "parameters",
        "layout",
        "system call",
        "permission check",
        "create_module(2)",
        "relocation",
        "image finished",
        "system call",
        "permission check",
        "init_module(2)",
        "references",
        "the module's init_module()",
    ]
    assert "printk| Hello world!\n" in result.stdout
    assert result.stdout.endswith("\n$ dmesg\nHello world!\nCleaning up module.\n")


@pytest.mark.parametrize(
    ("options", "titles"),
    [
        ((), ["request_module()", "modprobe starts", "modprobe runs insmod", "modprobe has ended"]),
        (
            ("--kerneld",),
            ["request_module()", "message to kerneld", "kerneld reads it", "modprobe starts",
             "modprobe runs insmod", "kerneld answers"],
        ),
    ],
)  # fmt: skip
def test_who_asks_who_runs_modprobe_who_answers(cli, options, titles):
    lines = cli("--classic", "run", *options, "needs", "wanted=fat").stdout.splitlines()
    told = [line[5:36].strip() for line in lines if line[:3].strip().isdecimal()]
    assert [title for title in told if title in titles] == titles


def test_a_load_that_fails(cli):
    result = cli("--classic", "run", "ret_enodev")
    assert result.exit_code == 1
    assert "returned -19 (ENODEV): uninitialised until insmod deletes it" in " ".join(
        line[36:].strip() for line in result.stdout.splitlines()
    )
    assert result.stderr.endswith("ret_enodev.o: init_module: No such device\n")
    assert cli("--classic", "run", "nobody").exit_code == 2


def test_commands_of_the_other_machine(cli):
    result = cli("--classic", "sweep", "--modules", "/")
    assert (result.exit_code, result.stderr) == (2, "kmod-emu: sweep works not with --classic\n")
    assert cli("kerneld", "delay=5").stderr == "kmod-emu: kerneld works only with --classic\n"


def test_devices(cli):
    cli("--classic", "insmod", samples.classic("chardev"))
    lines = cli("--classic", "devices").stdout.splitlines()
    assert lines[1].split() == ["254", "0-255", "chardev"]
    assert [line.split()[0] for line in lines[2:]] == ["read", "write", "ioctl", "open", "release"]


def test_the_tools_at_work_in_a_shell(cli):
    script = f"boot\ninsmod {samples.classic('fat')}\nlsmod\n"
    result = cli("--classic", "shell", text=script)
    assert "fat " in result.stdout
    assert "Not tainted" in result.stdout
