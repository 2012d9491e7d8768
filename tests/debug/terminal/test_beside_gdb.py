"""One script, done by the real gdb on our gdbserver and by the debugger's own terminal: the same answers."""

import re
import shutil

import pytest

from kmod_emu.debug.c.values import DebugError
from tests.debug.gdb.test_gdb import gdb, serving

# Steps into a recursion: values are in registers, on the stack, nowhere.
SCRIPT = """
info line
next
step
bt 1
info args
step
info locals
step
step
bt 2
up
info args
info locals
down
frame
p left
p &left
p room
p sizeof(room)
x/2i $pc
p $rip
p $eflags
break 33
info breakpoints
p numbers
p &numbers[1]
p *numbers@2
p depth + 1
whatis &numbers
ptype compare
p $_exitcode
list descend
info line 33
disassemble compare
stepi
nexti
next
watch depth
next
output depth
""".strip().splitlines()


def told(text: str) -> list[str]:
    """The lines of an answer, without what only one side can say.

    That is the machine's log, gdb's word for the thread, and Python's frames, which gdb takes for functions.
    """
    lines = [re.sub(r'^Thread \d+ "\w+" hit ', "", line.rstrip()) for line in text.splitlines()]
    log = re.compile(r"backtrace: |CPU: |Hardware name: |Call Trace:| <| \S+\+0x\w+/0x")
    return [
        line
        for line in lines
        if line
        and not log.match(line)
        and "kmod_emu_trap" not in line
        and "0x0000000000000000 in" not in line
    ]


@pytest.mark.skipif(shutil.which("gdb") is None, reason="gdb is not installed")
def test_the_answers_are_gdbs(talk):
    t = talk("backtrace")
    marked = [word for line in SCRIPT for word in (f"echo \\n@@{line}\\n", line)]
    with serving("backtrace") as (address, _):
        theirs = gdb(address, *marked, "echo \\n@@", "kill")
    answers = [block.partition("\n") for block in theirs.split("@@")[1:-1]]
    assert [line for line, _, _ in answers] == SCRIPT
    different = {}
    for line, _, answer in answers:
        try:
            t.session.execute(line)
        except DebugError as error:
            t.lines.append(str(error))
        ours = t.taken()
        if told(ours) != told(answer):
            different[line] = (told(ours), told(answer))
    assert different == {}
