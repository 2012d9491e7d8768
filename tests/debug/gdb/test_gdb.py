"""The real gdb drives the server: nothing is typed but `target remote`."""

import re
import shutil
import signal
import socket
import subprocess
import threading
import time
from contextlib import contextmanager

import pytest

from kmod_emu import Kernel, samples
from kmod_emu.debug.debugger import Debugger
from kmod_emu.debug.gdb.server import Server, Session
from kmod_emu.debug.gdb.symbols import kernel_file

needs_gdb = pytest.mark.skipif(shutil.which("gdb") is None, reason="gdb is not installed")


@contextmanager
def serving(*names: str):
    """A server for modules loaded one after another; yields where it is and what it said."""
    debugger, said = Debugger(Kernel()), []
    if len(names) == 1:
        debugger.start(samples.path(names[0]))
    else:
        debugger.start_work(lambda: [debugger.kernel.insmod(samples.path(name)) for name in names])
    server = Server(debugger, said.append)
    thread = threading.Thread(target=server.serve)
    thread.start()
    try:
        yield server.address, said
    finally:
        server.close()
        thread.join()
        debugger.close()


def gdb(address: tuple[str, int], *commands: str, interrupt: str = "") -> str:
    """What gdb prints when it is given these commands, and Ctrl-C when it has printed something."""
    words = [
        "gdb",
        "-nx",
        "-batch",
        "-ex",
        "set confirm off",
        "-ex",
        f"target remote {address[0]}:{address[1]}",
    ]
    for command in commands:
        words += ["-ex", command]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        output = ""
        for line in process.stdout:
            output += line
            if interrupt and interrupt in line:
                process.send_signal(signal.SIGINT)
        return output


@needs_gdb
def test_a_line_a_local_a_step_a_watched_variable_and_back():
    with serving("globals") as (address, _):
        output = gdb(
            address,
            "break globals.c:27", "continue", "print on_stack", "step", "info symbol $pc", "delete",
            "reverse-continue", "watch globals_bss", "continue", "print globals_bss", "reverse-continue",
            "print globals_bss", "backtrace", "info sharedlibrary", "info threads", "kill",
        )  # fmt: skip
    wanted = [
        r"globals_init \(\) at samples/globals/globals\.c:18",
        r"Breakpoint 1, globals_init \(\) at samples/globals/globals\.c:27",
        r"\$1 = 55",
        r"^28\t",
        r"init_module \+ \d+ in section \.init\.text",
        r"No more reverse-execution history",
        r"Hardware watchpoint 2: globals_bss\s+Old value = 0\s+New value = 1",
        r"\$2 = 1",
        r"Hardware watchpoint 2: globals_bss\s+Old value = 1\s+New value = 0",
        r"\$3 = 0",
        r"#0 .*globals_init \(\) at samples/globals/globals\.c:\d+\s+#1 .*kmod_emu_trap",
        r"Yes +target:/kmod-emu/globals\.ko",
        r'Thread \d+ "insmod" \(runs\) +globals_init',
    ]
    place = 0
    for pattern in wanted:
        found = re.compile(pattern, re.MULTILINE).search(output, place)
        assert found, f"{pattern}\n{output}"
        place = found.end()


@needs_gdb
def test_exit_is_reached_and_the_log_is_shown():
    with serving("hello") as (address, _):
        calls = "print ((int(*)(int))jiffies_to_msecs)(5)", "finish"
        output = gdb(address, *calls, "break hello_exit", "continue", "monitor lsmod", "continue")
    assert "$1 = 20\n" in output
    assert "kmod_emu_return ()\nValue returned is $2 = 0\n" in output
    assert '"rmmod" hit Breakpoint 1, hello_exit () at samples/hello/hello.c:15' in output
    assert re.search(r"Hello world!.*hello +16384  -1.*Cleaning up module\.", output, re.DOTALL), output
    assert "exited normally" in output


@needs_gdb
def test_ctrl_c_in_an_endless_loop_and_back_to_its_beginning():
    commands = "continue", "stepi", "reverse-stepi", "break spin_init", "reverse-continue", "kill"
    with serving("spin") as (address, _):
        output = gdb(address, *commands, interrupt="going round")
    assert '"insmod" received signal SIGINT' in output
    assert re.search(r"(spin_init|cpu_relax|rep_nop) \(\)", output), output
    assert "spin_init () at samples/spin/spin.c:9" in output.rpartition("Breakpoint 1")[2]


@needs_gdb
def test_a_module_that_is_loaded_later_brings_its_symbols():
    pending = "set breakpoint pending on", "break globals.c:27", "continue"
    with serving("hello", "globals") as (address, _):
        output = gdb(address, *pending, "print on_stack", "info sharedlibrary", "kill")
    assert "globals_init () at samples/globals/globals.c:27" in output, output
    assert "$1 = 55" in output
    assert re.search(r"Yes +target:/kmod-emu/hello\.ko\n.*Yes +target:/kmod-emu/globals\.ko", output)


def receive(client: socket.socket, wanted: bytes) -> bytes:
    """Read until something has come."""
    got = b""
    while wanted not in got and (piece := client.recv(4096)):
        got += piece
    return got


@needs_gdb
def test_what_a_front_end_sends(tmp_path):
    """Microsoft's extension for VS Code, which wants a program: the base kernel's symbols."""
    (tmp_path / "vmlinux").write_bytes(kernel_file(Kernel()))
    with serving("hello") as (address, _):
        commands = [
            f"-file-exec-and-symbols {tmp_path}/vmlinux",
            f"-target-select remote {address[0]}:{address[1]}",
            "-break-insert -f hello.c:10",
            "-exec-continue",
        ]
        with subprocess.Popen(
            ["gdb", "-nx", "-q", "-i", "mi"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as process:
            process.stdin.write("".join(f"{command}\n" for command in commands))
            process.stdin.flush()
            hit = next(line for line in process.stdout if 'reason="breakpoint-hit"' in line)
            process.stdin.write("-gdb-exit\n")
    assert 'func="hello_init"' in hit
    assert 'line="10"' in hit


def test_who_vanishes_leaves_a_machine_that_another_can_use():
    with serving("hello") as (address, said):
        for last in (b"$g#67", b"$m0,", b"\xff\x00$$$$", b"$vCont;c#a8"):
            with socket.create_connection(address) as client:
                client.sendall(b"$qSupported#37+")
                assert b"PacketSize" in receive(client, b"#")
                client.sendall(last)
            deadline = time.monotonic() + 60
            while not said or "connect again" not in said[-1]:
                assert time.monotonic() < deadline, said
                time.sleep(0.01)
            said.clear()
        with socket.create_connection(address) as client:
            client.sendall(b"\x03$R00#b2+$c#63")  # Ctrl-C while nothing runs is not meant for what runs next
            assert b"$W00#" in receive(client, b"W00#")


def test_a_line_that_nobody_hears_any_more_harms_no_task():
    debugger, said = Debugger(Kernel()), []
    debugger.start(samples.path("hello"))
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.shutdown(socket.SHUT_RD)
        theirs.sendall(b"$c#63")
        assert "the connection broke" in Session(debugger, ours, said.append).run()
    assert debugger.kernel.findings.reports == []
    assert "Hello world!" in debugger.kernel.dmesg()
    debugger.close()


def test_a_second_client_is_told_that_there_is_one():
    with serving("hello") as (address, said), socket.create_connection(address) as first:
        first.sendall(b"$?#3f")
        assert b"T05thread" in receive(first, b"#")
        with socket.create_connection(address) as second:
            assert b"another gdb is connected".hex().encode() in receive(second, b"never")
        first.sendall(b"+$vMustReplyEmpty#3a")
        assert b"$#00" in receive(first, b"$#00")
        assert "a second gdb tried to connect: refused" in said
