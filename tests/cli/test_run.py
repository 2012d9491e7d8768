"""kmod-emu run: the story, the JSON object, the exit status."""

import json
import os
import signal
import subprocess
import sys

import pytest

from kmod_emu import samples
from tests.module.builder import calling


def report(cli, *words):
    result = cli("run", "--json", *words)
    return result.exit_code, json.loads(result.stdout)


def test_a_good_module(cli):
    status, said = report(cli, "hello")
    assert status == 0
    assert said["module"] == "hello"
    assert (said["rc"], said["errno"], said["init_rc"], said["rmmod_rc"]) == (0, None, 0, 0)
    assert said["lsmod"] == {"size": 16384, "refcnt": 0, "used_by": [], "state": "Live"}
    assert said["dmesg"] == [
        "hello: loading out-of-tree module taints kernel.",
        "hello: module verification failed: signature and/or required key missing - tainting kernel",
        "Hello world!",
        "Cleaning up module.",
    ]
    assert (said["unimplemented"], said["reports"]) == ([], [])
    assert set(said) == {
        "module", "rc", "errno", "init_rc", "dmesg", "lsmod", "rmmod_rc", "steps", "unimplemented", "reports",
    }  # fmt: skip


def test_steps_come_in_the_order_that_courses_teach(cli):
    _, said = report(cli, "hello")
    names = [step["name"] for step in said["steps"]]
    story = [
        "syscall", "may_init_module", "copy_module_from_user", "elf_validity_check",
        "layout_and_allocate", "add_unformed_module", "simplify_symbols", "apply_relocations",
        "module_args", "notifier_chain", "do_one_initcall", "initcall_result", "module_live",
        "sys_delete_module", "module_exit", "free_module",
    ]  # fmt: skip
    assert [names.index(name) for name in story] == sorted(names.index(name) for name in story)
    assert all(step["detail"] for step in said["steps"])


def test_init_that_refuses_did_run(cli):
    status, said = report(cli, "ret_minus1")
    assert status == 1
    assert (said["rc"], said["errno"], said["init_rc"], said["lsmod"]) == (-1, "EPERM", -1, None)
    assert said["dmesg"][-1] == "ret_minus1: init runs and returns -1"
    story = cli("run", "ret_minus1")
    assert "init did run, its lines are in dmesg, but ret_minus1 is not in the list" in story.stdout
    assert "could not insert module" in story.stderr
    assert "Operation not permitted" in story.stderr


def test_init_that_returns_a_positive_number_stays(cli):
    status, said = report(cli, "ret_plus5")
    assert (status, said["rc"], said["init_rc"]) == (0, 0, 5)
    assert said["lsmod"]["state"] == "Live"


def test_a_module_without_exit_cannot_be_removed(cli):
    status, said = report(cli, "noexit")
    assert (status, said["rmmod_rc"]) == (0, -16)


def test_an_oops(cli):
    status, said = report(cli, "oops_null")
    assert (status, said["rc"], said["errno"], said["init_rc"]) == (3, None, None, None)
    assert said["lsmod"]["state"] == "Loading"
    assert "BUG: kernel NULL pointer dereference, address: 0000000000000000" in said["dmesg"]
    assert said["reports"][0]["kind"] == "oops"
    assert "oops_null_init" in said["reports"][0]["text"]


def test_an_oops_in_exit_does_not_undo_the_load(cli):
    from tests.conftest import RECORDINGS

    status, said = report(cli, RECORDINGS / "errno-cases" / "h_ret.ko", "mode=exitnull")
    assert (status, said["rc"], said["init_rc"], said["rmmod_rc"]) == (3, 0, 0, None)
    assert said["lsmod"]["state"] == "Live"


def test_code_that_never_returns(cli):
    status, said = report(cli, "spin", "--time-limit", "0.5")
    assert status == 3
    assert said["reports"][0]["kind"] == "soft lockup"
    assert any("soft lockup" in line for line in said["dmesg"])


def test_a_missing_kernel_function_is_named(cli, tmp_path):
    missing = ["vga_switcheroo_process_delayed_switch", "vga_switcheroo_client_fb_set"]
    module = tmp_path / "calls.ko"
    module.write_bytes(calling(*missing))
    status, said = report(cli, module)
    assert (status, said["rc"], said["unimplemented"]) == (4, None, missing[:1])
    status, said = report(cli, module, "--permissive")
    assert (status, said["rc"]) == (4, 0)
    assert said["unimplemented"] == missing


def test_a_file_that_cannot_be_read_is_an_object_too(cli):
    status, said = report(cli, "missing.ko")
    assert (status, said["module"], said["rc"], said["lsmod"], said["steps"]) == (
        1,
        "missing",
        None,
        None,
        [],
    )
    assert set(said) == set(report(cli, "hello")[1])


def test_parameters(cli):
    status, said = report(cli, "params", "count=7", "whom=x y")
    assert status == 0
    assert "params: count=7 size=16 verbose=0 whom=x level=3" in said["dmesg"]
    assert "params: unknown parameter 'y' ignored" in said["dmesg"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["hello", "--uid", "1000"], "Operation not permitted"),
        (["params", "count=x"], "Invalid parameters"),
        (["params", "count=99999999999"], "Numerical result out of range"),
    ],
)
def test_refusals_in_the_tools_words(cli, words, message):
    result = cli("run", "--quiet", *words)
    assert result.exit_code == 1
    path = samples.path(words[0])
    assert result.stderr.splitlines()[0] == f"insmod: ERROR: could not insert module {path}: {message}"
    assert result.stderr.splitlines()[1].startswith("kmod-emu: ")


def bad_files(folder):
    good = samples.path("hello").read_bytes()
    (folder / "empty.ko").write_bytes(b"")
    (folder / "six.ko").write_bytes(b"\x7fELF\x02\x01")
    (folder / "short.ko").write_bytes(b"\x7fELF\x02\x01\x01\0\0\0")
    (folder / "truncated.ko").write_bytes(good[:3000])
    (folder / "text.ko").write_text("this is no module\n" * 10)
    (folder / "arm.ko").write_bytes(good[:18] + (183).to_bytes(2, "little") + good[20:])
    (folder / "folder.ko").mkdir()
    os.mkfifo(folder / "pipe.ko")
    other = good.replace(b"vermagic=6.1.0-56-amd64 SMP preempt", b"vermagic=6.8.0-31-gener SMP nonempt")
    (folder / "other.ko").write_bytes(other)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("missing.ko", "could not load module missing.ko: No such file or directory"),
        ("folder.ko", "could not insert module folder.ko: Is a directory"),
        ("empty.ko", "could not insert module empty.ko: Invalid parameters"),
        ("pipe.ko", "could not insert module pipe.ko: Invalid parameters"),
        ("six.ko", "could not insert module six.ko: Invalid module format"),
        ("short.ko", "could not insert module short.ko: Invalid module format"),
        ("truncated.ko", "could not insert module truncated.ko: Invalid module format"),
        ("text.ko", "could not insert module text.ko: Invalid module format"),
        ("arm.ko", "could not insert module arm.ko: Invalid module format"),
        ("other.ko", "could not insert module other.ko: Invalid module format"),
    ],
)
@pytest.mark.parametrize("command", [["run", "--quiet"], ["insmod"]])
def test_bad_files(cli, tmp_path, command, name, message):
    bad_files(tmp_path)
    result = cli(*command, name)
    assert result.exit_code == 1
    assert result.stderr.splitlines()[0] == f"insmod: ERROR: {message}"
    assert cli("lsmod").stdout == "Module                  Size  Used by\n"


def test_another_kernels_module_is_explained(cli, tmp_path):
    bad_files(tmp_path)
    said = cli("run", "--quiet", "other.ko").stderr
    assert "built for 6.8.0-31-gener, this machine runs 6.1.0-56-amd64" in said


@pytest.mark.parametrize(
    "words",
    [
        ["run"],
        ["run", "hello", "--release", "9.9"],
        ["nonsense"],
        ["run", "hello", "--uid", "x"],
        ["run", "hello", "--uid", "-1"],
        ["run", "hello", "--time-limit", "0"],
        ["run", "hello", "--time-limit", "nan"],
    ],
)
def test_wrong_usage(cli, words):
    assert cli(*words).exit_code == 2


def test_hostile_text_does_not_reach_the_terminal(cli, tmp_path):
    """A module's name, licence and messages are data: no escape sequence gets through."""
    evil = samples.path("hello").read_bytes().replace(b"Hello world!", b"\x1b[2JHi\x07 all!")
    evil = evil.replace(b"author=kmod-emu", b"author=\x1b]0;nop\x07")
    (tmp_path / "evil.ko").write_bytes(evil)
    for words in (["run", "evil.ko"], ["modinfo", "evil.ko"]):
        result = cli(*words)
        assert result.exit_code == 0
        assert "\x1b" not in result.output
        assert "\\x1b" in result.output


def test_hostile_module_name_does_not_reach_the_terminal(cli, tmp_path):
    image = samples.path("hello").read_bytes()
    start = image.index(b"hello\0\0\0\0\0\0\0\0")  # of the name in struct module: 56 bytes, filled with NULs
    (tmp_path / "evil.ko").write_bytes(image[:start] + b"h\x1b[2J" + image[start + 5 :])
    for words in (["run", "evil.ko"], ["run", "--json", "evil.ko"], ["insmod", "evil.ko"], ["lsmod"]):
        result = cli(*words)
        assert result.exit_code == 0
        assert "\x1b" not in result.output
    assert "\\x1b[2J" in cli("lsmod").stdout


def test_a_sample_is_found_beside_a_directory_of_its_name(cli, tmp_path):
    """In samples/ of the sources each sample has a directory."""
    (tmp_path / "hello").mkdir()
    assert cli("run", "--quiet", "hello").exit_code == 0


def test_a_file_goes_before_a_sample_of_its_name(cli, tmp_path):
    (tmp_path / "hello").write_text("no module, but more than seven bytes")
    assert "insmod: ERROR: could not insert module hello:" in cli("run", "--quiet", "hello").stderr


def test_interrupt_ends_an_endless_loop_in_the_guest_at_once():
    """Python alone would notice Ctrl-C only when the watchdog ends the loop, long after."""
    words = ["-u", "-m", "kmod_emu.cli.main", "run", "spin", "--time-limit", "1000"]
    run = subprocess.Popen(
        [sys.executable, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert run.stdout is not None
    assert any("going round and round" in line for line in run.stdout)
    run.send_signal(signal.SIGINT)
    _, errors = run.communicate(timeout=60)
    assert run.returncode == -signal.SIGINT  # 130, as a shell says it
    assert errors == ""


def test_interrupt_elsewhere_is_quiet_too(cli, monkeypatch):
    def interrupted(*words):
        raise KeyboardInterrupt

    monkeypatch.setattr("kmod_emu.kmod.modinfo.read_module", interrupted)
    result = cli("modinfo", samples.path("hello"))
    assert (result.exit_code, result.stderr) == (130, "")
