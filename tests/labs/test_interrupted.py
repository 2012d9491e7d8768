"""Runs of many submissions: how far they are, and what is left of one that was killed."""

import os
import pty
import subprocess
import sys
import time

COUNT = 5


def start(course, **where):
    program = "from kmod_emu.cli.main import main; main()"
    words = ["grade", f"{course}/LAB.toml", f"{course}/in", "--jobs", "1"]
    environment = os.environ | {"TMPDIR": str(course), "COLUMNS": "80"}
    return subprocess.Popen([sys.executable, "-c", program, *words], env=environment, **where)


def rows(course):
    return {path.name: path.stat().st_mtime_ns for path in (course / "in/.kmod-emu-grade").glob("[0-9]*")}


def test_a_run_that_is_killed_goes_on_where_it_was(course):
    first = start(course, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not rows(course):
        time.sleep(0.01)
    first.kill()
    first.wait()
    before = rows(course)
    assert 0 < len(before) < COUNT
    second = start(course, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    output, progress = second.communicate()
    assert output.splitlines()[-1] == f"{COUNT} submissions, {COUNT} with full marks"
    assert progress.splitlines()[0] == f"{len(before)} were judged before"
    assert progress.splitlines()[1] == f"[{len(before) + 1}/{COUNT}] {len(before)}.ko: 1/1"
    after = rows(course)
    assert len(after) == COUNT
    assert {name: after[name] for name in before} == before


def test_a_terminal_shows_a_bar(course):
    for number in range(2, COUNT):
        (course / f"in/{number}.ko").unlink()
    ours, theirs = pty.openpty()
    run = start(course, stdout=subprocess.DEVNULL, stderr=theirs)
    os.close(theirs)
    shown = b""
    try:
        while part := os.read(ours, 4096):
            shown += part
    except OSError:  # nobody has the other end any more
        pass
    os.close(ours)
    assert run.wait() == 0
    assert b"2/2" in shown
