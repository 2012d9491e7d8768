"""Whole sessions of a real machine's shell, recorded: the same output, status and dmesg here."""

import json

import pytest

from tests.conftest import RECORDINGS
from tests.module.replay import comparable
from tests.user.conftest import needs_busybox

CASES = {case["name"]: case for case in json.loads((RECORDINGS / "behaviour-6.1.json").read_text())}
FILES = RECORDINGS / "behaviour"
pytestmark = needs_busybox


def replay(shell, step: dict) -> dict:
    before = shell.kernel.printk.sequence
    result = shell.sh(step["cmd"])
    dmesg = [
        f"<{record.level}>{line}"
        for record in shell.kernel.printk.readable()
        if record.sequence >= before
        for line in record.kmsg().split("\\x0a")
    ]
    return {"rc": result.status, "out": result.stdout.decode("latin-1"), "dmesg": comparable(dmesg)}


@pytest.mark.parametrize("name", CASES)
def test_session(shell, name):
    for file in FILES.iterdir():
        shell.put(f"/b/{file.name}", file.read_bytes())
    for step in CASES[name]["steps"]:
        wanted = {"rc": step["rc"], "out": step["out"], "dmesg": comparable(step["dmesg"])}
        assert replay(shell, step) == wanted, step["cmd"]
