"""One-field mutations of a module, against what a real kernel made of each."""

import pytest

from kmod_emu import Kernel, KernelError, Killed
from kmod_emu.module.modules import Modules
from tests.conftest import recording
from tests.module.replay import CASES, comparable

RECORDED_LINES = 6  # of dmesg, the recordings keep the first


@pytest.fixture(scope="module")
def machine():
    """A machine on which the module was loaded once: messages that come once a boot have come."""
    kernel, image = Kernel(), (CASES / "h_hello.ko").read_bytes()
    kernel.insmod(image)
    kernel.rmmod("h_hello")
    kernel[Modules].last_unloaded = ""  # the recorded machine had unloaded nothing
    return kernel, image, kernel.snapshot()


def answer(machine, patch: str) -> dict:
    kernel, image, clean = machine
    kernel.restore(clean)
    kernel.printk.clear()
    offset, replacement = int(patch.split(":")[0], 0), bytes.fromhex(patch.split(":")[1])
    mutated = image[:offset] + replacement + image[offset + len(replacement) :]
    outcome = {"status": "ok", "errno": 0}
    try:
        with kernel.process(comm="init") as process:
            process.finit_module(mutated)
    except Killed:
        outcome["status"] = "crash"
    except KernelError as error:
        outcome = {"status": "error", "errno": error.errno}
    outcome["dmesg"] = [f"<{r.level}>{r.kmsg()}" for r in kernel.printk.readable()]
    return outcome


def same(got: dict, expected: dict) -> bool:
    if expected["status"] == "crash":
        return got["status"] == "crash" and comparable(got["dmesg"])[:1] == comparable(expected["dmesg"])[:1]
    if got["status"] != expected["status"] or (got["errno"] or 0) != (expected["errno"] or 0):
        return False
    return comparable(got["dmesg"][:RECORDED_LINES]) == comparable(expected["dmesg"])


MUTATIONS = recording("mutations-6.1.json")


@pytest.mark.parametrize("case", MUTATIONS, ids=lambda case: case["case"])
def test_mutation(machine, case):
    got = answer(machine, case["patch"])
    assert same(got, case), (case, got)
