"""What becomes of mistakes in the Python code behind the machine."""

import json

import pytest
from click.testing import CliRunner

from kmod_emu import Kernel, KernelError, samples
from kmod_emu.cli.main import main
from kmod_emu.errors import InternalError, Killed
from kmod_emu.fs import read_write
from kmod_emu.kernel import printk as log
from kmod_emu.kernel.internal import KIND
from tests.kernel.test_dispatch import call

pytestmark = pytest.mark.internal_errors


def fail(*_args, **_options):
    """A mistake that looks like one of ours."""
    raise OSError(5, "no such luck")  # not what a caller's nonsense is told by


def ours(function):
    """The same function as if it stood in our code."""
    code = function.__code__.replace(co_filename=read_write.__file__)
    return type(function)(code, function.__globals__)


@pytest.fixture
def broken(monkeypatch):
    """Every message of a module's brings our code down."""
    monkeypatch.setattr(log.Printk, "emit", ours(fail))


def test_it_ends_the_system_call_and_the_machine_goes_on(broken, monkeypatch):
    kernel = Kernel()
    with pytest.raises(InternalError) as caught:
        kernel.insmod(samples.path("hello"))
    assert caught.value.explanation.startswith("internal error: OSError: ")
    assert caught.value.explanation.endswith("; please report it (KMOD_EMU_DEBUG=1 shows more)")
    assert isinstance(caught.value.__cause__, OSError)
    assert [report["kind"] for report in kernel.findings.reports] == [KIND]
    monkeypatch.undo()
    kernel.insmod(samples.path("params"))
    assert kernel.cat("/proc/modules").startswith(b"params ")
    kernel.rmmod("params")


def test_a_command_says_so_and_has_a_status_for_it(broken, tmp_path):
    runner = CliRunner(env={"KMOD_EMU_STATE": str(tmp_path / "machine")})
    for words in (["run", "hello", "-q"], ["insmod", str(samples.path("hello"))], ["trace", "hello"],
                  ["faults", "hello"], ["exec", "--insmod", "hello", "--", "true"],
                  ["record", "hello", "-o", str(tmp_path / "hello.kmodrec")]):  # fmt: skip
        answer = runner.invoke(main, words)
        assert "internal error: OSError" in answer.stdout + answer.stderr, words
        assert "Traceback" not in answer.output
        assert answer.exit_code == (1 if words[0] == "faults" else 70), words
    report = json.loads(runner.invoke(main, ["run", "hello", "--json"]).stdout)
    assert report["rc"] is None
    assert [each["kind"] for each in report["reports"]] == [KIND]


def test_a_program_dies_of_it_and_its_parent_goes_on(monkeypatch):
    monkeypatch.setitem(read_write.__dict__, "vfs_read", ours(fail))
    answer = CliRunner().invoke(main, ["exec", "--", "sh", "-c", "head -c1 /dev/zero; echo status $?"])
    assert "status 137" in answer.output or answer.exit_code == 70
    assert "Traceback" not in answer.output


def test_a_mistake_of_the_users_is_the_users_and_the_machine_goes_on(kernel, guest):
    def probe(kernel):
        raise ZeroDivisionError

    process = kernel.process()
    with pytest.raises(ZeroDivisionError):
        call(guest, "int probe(void)", probe)
    assert guest.call("mov eax, 1; ret") == 1
    assert process.syscall("getpid") == process.pid
    process.exit()


def test_after_a_panic_no_system_call_is_answered(kernel, guest, tmp_path):
    process = kernel.process()
    with pytest.raises(Killed):
        guest.call("sub rsp, 8; call {panic}; ret", guest.text("out of luck"))
    with pytest.raises(Killed) as caught:
        process.syscall("getpid")
    assert caught.value.explanation.startswith(
        "the machine has stopped: kernel panic: out of luck; `kmod-emu"
    )
    with pytest.raises(KernelError, match="Interrupted"):
        kernel.insmod(samples.path("hello"))
    kernel.save(tmp_path / "machine")
    runner = CliRunner(env={"KMOD_EMU_STATE": str(tmp_path / "machine")})
    answer = runner.invoke(main, ["insmod", str(samples.path("hello"))])
    assert (answer.exit_code, "kernel panic: out of luck" in answer.output) == (3, True)
    assert "out of luck" in runner.invoke(main, ["dmesg"]).output
    runner.invoke(main, ["boot"])
    assert runner.invoke(main, ["insmod", str(samples.path("hello"))]).exit_code == 0
