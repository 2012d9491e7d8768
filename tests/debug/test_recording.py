"""A recorded run prints the same when it is done again, and can be debugged then."""

import socket
import subprocess
import sys
from contextlib import suppress

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from kmod_emu import Kernel, KernelError, samples
from kmod_emu.cli.main import main
from kmod_emu.debug import execution
from kmod_emu.debug.debugger import Debugger, Reason
from kmod_emu.debug.goal import Edit
from kmod_emu.debug.recording import MAGIC, Recording, from_bytes


def kmod_emu(*words: object):
    return CliRunner().invoke(main, [str(word) for word in words])


@pytest.mark.parametrize(
    ("name", "status", "line"),
    [
        ("params", 0, "params: goodbye, world"),
        ("oops_null", 3, "note: insmod[100] exited with irqs disabled"),
        ("ret_enodev", 1, "ret_enodev: init runs and returns -ENODEV"),
    ],
)
def test_a_replay_prints_what_the_recording_printed(tmp_path, name, status, line):
    recorded = kmod_emu("record", name, "-o", tmp_path / "x.kmodrec")
    replayed = kmod_emu("replay", tmp_path / "x.kmodrec")
    assert (recorded.exit_code, replayed.exit_code) == (status, status)
    assert replayed.stdout == recorded.stdout
    assert recorded.stdout.endswith(f"{line}\n")


def test_code_that_never_returns_is_given_up_and_the_replay_gets_to_the_same_place(tmp_path):
    recorded = kmod_emu("record", "spin", "-o", tmp_path / "x.kmodrec", "--time-limit", "0.3")
    replayed = kmod_emu("replay", tmp_path / "x.kmodrec")
    assert (recorded.exit_code, replayed.exit_code) == (3, 3)
    assert replayed.stdout == recorded.stdout
    assert replayed.stderr in recorded.stderr
    assert "given up at spin_init+0x1" in replayed.stderr


def test_code_that_waits_in_loops_is_looked_at_where_it_was_when_it_was_recorded(monkeypatch):
    """Real time decides when such code is looked at: the recording says where that was."""
    monkeypatch.setattr(execution, "_PATIENCE", 0.01)  # the test need not wait longer than it must
    first = Debugger(Kernel())
    first.start(samples.path("spinwait"))
    assert first.continue_().reason is Reason.ENDED
    recording, log = Recording.of(first), first.kernel.dmesg()
    first.close()
    second = Debugger(Kernel())
    second.replay(recording)
    assert second.continue_().reason is Reason.ENDED
    assert (second.kernel.dmesg(), Recording.of(second).looks) == (log, recording.looks)
    assert log[-1] == "spinwait: the thread returned 0"
    second.close()


def test_arguments_and_changes_by_the_user_come_along():
    first = Debugger(Kernel())
    first.start(samples.path("params"), "count=2 whom=bob")
    address = next(address for address, _, name in first.kernel.modules[0].symbols if name == "count")
    first.write(address, b"\x03")
    assert first.continue_().reason is Reason.ENDED
    recording = from_bytes(Recording.of(first).to_bytes())
    first.close()
    second = Debugger(Kernel(recording.release))
    second.replay(recording)
    second.continue_()
    assert "params: count=3 size=16 verbose=0 whom=bob level=3" in second.kernel.dmesg()
    second.close()


def test_a_session_with_gdb_is_kept(tmp_path):
    command = [sys.executable, "-m", "kmod_emu.cli.main", "gdbserver", "hello", "--port", "0", "--once"]
    with subprocess.Popen([*command, "--record", tmp_path / "x.kmodrec"], stdout=subprocess.PIPE) as server:
        port = int(server.stdout.readline().rpartition(b":")[2])
        with socket.create_connection(("127.0.0.1", port)) as client:
            client.sendall(b"$P2=2a00000000000000#f2")
            answer = b""
            while not answer.endswith(b"#9a"):
                answer += client.recv(1000) or b"#9a"
            client.sendall(b"+$D#44")
    recording = from_bytes((tmp_path / "x.kmodrec").read_bytes())
    assert [edit.change for edit in recording.edits] == [("register", "rcx", 42)]
    assert recording.end == recording.edits[0][:2]


def test_a_recording_is_debugged_like_its_module(tmp_path):
    kmod_emu("record", "hello", "-o", tmp_path / "x.kmodrec")
    output = kmod_emu(
        "debug", tmp_path / "x.kmodrec", "--batch", "-ex", "tbreak hello_exit", "-ex", "continue"
    )
    assert "hello_exit () at samples/hello/hello.c:15" in output.stdout


@pytest.mark.parametrize(
    ("contents", "sentence"),
    [
        (b"\x7fELF", "is no recording of kmod-emu"),
        (MAGIC, "this recording is damaged"),
        (MAGIC + b"x", "this recording is damaged"),
        (MAGIC.replace(b"1", b"2"), "no recording of kmod-emu"),
    ],
)
def test_what_is_no_recording_is_said_so(tmp_path, contents, sentence):
    (tmp_path / "x.kmodrec").write_bytes(contents)
    result = kmod_emu("replay", tmp_path / "x.kmodrec")
    assert (result.exit_code, sentence in result.stderr) == (1, True)


def test_a_missing_file_and_a_missing_release(tmp_path):
    assert "No such file or directory" in kmod_emu("replay", tmp_path / "none").stderr
    (tmp_path / "x.kmodrec").write_bytes(Recording("1.2.3", b"").to_bytes())
    assert kmod_emu("replay", tmp_path / "x.kmodrec").exit_code == 2


@settings(max_examples=40)
@given(
    st.binary(max_size=50),
    st.text(max_size=20),
    st.lists(st.tuples(st.integers(0, 1 << 40), st.integers(0, 1 << 40)), max_size=3),
)
def test_what_is_written_is_read(image, params, looks):
    edit = Edit(1, 2, ("memory", 3, "00ff"))
    recording = Recording("6.1", image, params, looks=tuple(looks), edits=(edit,), end=(4, 5), log=("a",))
    assert from_bytes(recording.to_bytes()) == recording


@settings(max_examples=60)
@given(st.data())
def test_damage_is_noticed_or_harmless(data):
    good = Recording("6.1", b"\x7fELF", "a=1").to_bytes()
    place = data.draw(st.integers(0, len(good) - 1))
    bad = good[:place] + bytes((good[place] ^ data.draw(st.integers(1, 255)),)) + good[place + 1 :]
    with suppress(KernelError):
        assert isinstance(from_bytes(bad), Recording)
