"""What each sample says, session by session: transcripts/NAME.txt is what a user would see in dmesg."""

import os
import re
from pathlib import Path

import pytest

from kmod_emu import Kernel, samples
from kmod_emu.errors import KernelError

TRANSCRIPTS = sorted((Path(__file__).parent / "transcripts").glob("*.txt"))
# What is the same for every unsigned module, and what depends on where the base kernel has its code.
LEFT_OUT = re.compile(
    r".*: loading out-of-tree module taints|.*: module verification failed|(R..|RSP|CR2|FS|CS|Code|CPU): | "
)


def replay(path):
    """The transcript anew, and the log with its time stamps."""
    kernel, text, seen = Kernel(), [], 0
    for line in path.read_text().splitlines():
        if not line.startswith("$ "):
            continue
        words = line[2:].split()
        text.append(line)
        try:
            if words[0] == "insmod":
                kernel.insmod(samples.path(words[1]), " ".join(words[2:]))
            elif words[0] == "rmmod":
                kernel.rmmod(words[1])
            elif words[0] == "sleep":
                kernel.advance(float(words[1]))
            elif words[0] == "echo":
                with kernel.process() as shell:
                    fd = shell.open(words[-1], os.O_WRONLY | os.O_TRUNC)
                    shell.write(fd, " ".join(words[1:-2]).encode() + b"\n")
            elif words[0] == "cat":
                text += kernel.cat(words[1]).decode().splitlines()
            else:
                text += [f"{report['kind']}: {report['text']}" for report in kernel.findings.reports]
        except KernelError as error:
            text.append(f"{words[0]}: {error.strerror}")
        log = kernel.dmesg()
        text += [line for line in log[seen:] if not LEFT_OUT.match(line)]
        seen = len(log)
    return text, kernel.printk.dmesg()


@pytest.mark.parametrize("path", TRANSCRIPTS, ids=lambda path: path.stem)
def test_sample_says_what_its_transcript_says(path):
    text, stamped = replay(path)
    assert text == path.read_text().splitlines()
    assert replay(path)[1] == stamped  # to the microsecond
