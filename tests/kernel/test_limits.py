"""What a module gets that uses more than it may, and what is said about it."""

import os

import pytest
from click.testing import CliRunner

from kmod_emu import Kernel, KernelError, Killed, samples
from kmod_emu.cli.main import main
from kmod_emu.errors import SleepsForever
from kmod_emu.fs.vfs import Vfs
from kmod_emu.kernel.limits import Limits
from kmod_emu.uapi import errno

GFP_KERNEL = 0xCC0
MIB = 1 << 20
MASK = (1 << 64) - 1


def told(kernel):
    """The sentences about limits."""
    return [report["text"] for report in kernel.findings.reports if report["kind"] == "limit"]


def exhaust(kernel, function, *arguments):
    """What a function of the kernel gives until it gives nothing."""
    given = []
    while answer := kernel.call(kernel.symbol(function), *arguments):
        given.append(answer)
    return given


@pytest.mark.parametrize(
    ("function", "arguments", "free"),
    [
        ("get_zeroed_page", (GFP_KERNEL,), lambda kernel, page: ("free_pages", page, 0)),
        ("vmalloc", (1 << 16,), lambda kernel, area: ("vfree", area)),
        ("__kmalloc", (1 << 15, GFP_KERNEL), lambda kernel, block: ("kfree", block)),
    ],
)
def test_memory_is_null_when_it_is_used_up(function, arguments, free):
    kernel = Kernel(limits=Limits(memory=MIB))
    given = exhaust(kernel, function, *arguments)
    assert 10 < len(given) <= 256
    (sentence,) = told(kernel)
    assert sentence.startswith("kmod-emu[")
    assert sentence.endswith("(--limits memory=... gives more)")
    name, *values = free(kernel, given[-1])
    kernel.call(kernel.symbol(name), *values)
    assert kernel.call(kernel.symbol(function), *arguments) == given[-1], "what comes back can be had again"


def test_a_module_that_does_not_fit_is_enomem():
    kernel = Kernel(limits=Limits(memory=1 << 14))
    with pytest.raises(KernelError) as refused:
        kernel.insmod(samples.path("echo"))
    assert refused.value.errno == errno.ENOMEM
    assert kernel.modules == []


def test_instructions_end_a_loop_at_the_same_place_each_time():
    logs = []
    for _ in range(2):
        kernel = Kernel(limits=Limits(instructions=100_000))
        with pytest.raises(Killed) as death:
            kernel.insmod(samples.path("spin"))
        assert "ran 100000 instructions (--limits instructions=... gives more)" in death.value.explanation
        logs.append((kernel.dmesg(), kernel.clock.now_ns))
    assert logs[0] == logs[1]


def test_no_more_tasks_is_eagain():
    kernel = Kernel(limits=Limits(tasks=20))
    name = kernel.heap.kmalloc(8)
    answers = [kernel.call(kernel.symbol("kthread_create_on_node"), 0, 0, -1, name) for _ in range(30)]
    assert answers[-1] == -errno.EAGAIN & MASK
    assert len(kernel.tasks.by_pid) == 20
    assert told(kernel)[0].endswith(
        "starts a task more than the 20 there are (--limits tasks=... gives more)"
    )


def test_no_more_open_files_is_enfile():
    kernel = Kernel(limits=Limits(files=40))
    with kernel.process() as process:
        process.close(process.open("/dev/null", os.O_RDONLY))  # it has the first three now
        for _ in range(40 - len(kernel[Vfs].open_files)):
            process.open("/dev/null", os.O_RDONLY)
        with pytest.raises(KernelError) as full:
            process.open("/dev/null", os.O_RDONLY)
    assert full.value.errno == errno.ENFILE
    assert kernel.dmesg() == ["VFS: file-max limit 40 reached"]
    assert len(told(kernel)) == 1
    with kernel.process() as process:
        process.open("/dev/null", os.O_RDONLY)


def test_messages_beyond_the_limit_are_dropped():
    kernel = Kernel(limits=Limits(dmesg=1000))
    for number in range(100):
        kernel.printk.emit(f"line {number}\n")
    assert len(kernel.dmesg()) == 1000 // (64 + len("line 0"))
    assert "prints more than 1000 bytes to the log" in told(kernel)[0]


def test_what_waits_beyond_the_end_of_time_waits_for_ever():
    kernel = Kernel(limits=Limits(virtual=10))
    kernel.sleep(9)
    with pytest.raises(SleepsForever) as late:
        kernel.sleep(9)
    assert "--limits virtual=... gives more" in late.value.explanation
    kernel.advance(100)
    assert kernel.clock.now_ns <= kernel.usage.end_ns


def test_time_stops_code_that_goes_to_python_all_the_time():
    """Each stretch of guest code is short; only together they are long."""
    kernel = Kernel(limits=Limits(time=0.2))
    text = kernel.heap.kmalloc(8)

    async def forever():
        while True:
            await kernel.call_guest(kernel.symbol("strlen"), text)

    with pytest.raises(Killed) as death:
        kernel.run(forever())
    assert "ran for 0.2 s" in death.value.explanation


def test_limits_stay_with_a_machine(tmp_path):
    kernel = Kernel(limits=Limits(memory=MIB, time=5.0, dmesg=None))
    exhaust(kernel, "get_zeroed_page", GFP_KERNEL)
    before = kernel.snapshot()
    kernel.cpu.watchdog.limit = 1.0
    kernel.restore(before)
    assert kernel.cpu.watchdog.limit == 1.0, "a snapshot is of the machine, not of who watches it"
    kernel.save(tmp_path / "machine")
    loaded = Kernel.load(tmp_path / "machine")
    assert loaded.usage.limits == kernel.usage.limits
    assert loaded.cpu.watchdog.limit == 5.0
    assert loaded.call(loaded.symbol("get_zeroed_page"), GFP_KERNEL) == 0


@pytest.mark.parametrize("text", ["cpu=3", "memory", "memory=much", "time=0", "virtual=nan", "tasks=-1", ""])
def test_a_limit_that_is_none_is_wrong_usage(text):
    answer = CliRunner().invoke(main, ["run", "hello", "--limits", text])
    assert answer.exit_code == 2
    assert "Usage:" in answer.output


COMMANDS = {
    "run": ["run", "spin", "--json"],
    "trace": ["trace", "spin"],
    "faults": ["faults", "spin"],
    "debug": ["debug", "spin", "--batch", "-ex", "continue"],
    "record": ["record", "spin", "-o", "spin.kmodrec"],
    "replay": ["replay", "spin.kmodrec"],
    "exec": ["exec", "--insmod", "spin", "--", "true"],
    "exec --kept": ["exec", "--kept", "--insmod", "spin", "--", "true"],
}


@pytest.mark.parametrize("words", COMMANDS.values(), ids=COMMANDS)
def test_commands_take_limits(words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    limits = ["--limits", "instructions=64K,time=none"]
    runner = CliRunner(env={"KMOD_EMU_STATE": str(tmp_path / "machine")})
    if words[0] == "replay":
        runner.invoke(main, [*COMMANDS["record"], *limits])
    answer = runner.invoke(main, [words[0], *limits, *words[1:]])
    assert answer.exit_code in (0, 1, 3)
    assert "--limits instructions=... gives more" in answer.output


def test_a_recording_has_the_limits_of_its_machine(tmp_path):
    """Without them the run would not end, and a machine with other checks has other addresses."""
    file = str(tmp_path / "spin.kmodrec")
    recorded = CliRunner().invoke(
        main, ["record", "spin", "-o", file, "--limits", "instructions=64K", "--sanitize", "off"]
    )
    replayed = CliRunner().invoke(main, ["replay", file])
    assert (replayed.exit_code, replayed.stdout) == (recorded.exit_code, recorded.stdout)
    assert "ran 65536 instructions" in replayed.stderr
