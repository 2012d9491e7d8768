"""The module system calls against what a real Debian 6.1 kernel answered: errno, dmesg, files."""

import pytest

from tests.conftest import recording
from tests.module.replay import DUMMY, Replay, comparable, normalize

# What the recording machine did with means that are not part of this room.
ELSEWHERE = {
    "sh": "a shell on the machine",
}
NOT_YET_OPEN = ("devnull", "devzero", "pipe")
UNLIKE = {
    "variant:h_gplsym": "its init calls __class_create, which is not implemented",
    "variant:h_misc": "its init calls misc_register, which is not implemented",
    "perm:lockdown_integrity": "one step loads dummy, whose init calls rtnl_link_register",
    "signed:notail": "its init calls rtnl_link_register, which is not implemented",
}
BOOT = {"boot:nomodule": "nomodule", "boot:module_blacklist": "module_blacklist=h_hello,h-exp"}


def replayable(case: dict) -> bool:
    """Whether all steps of a case can run here: each of them is one of the three system calls or a file."""
    for result in case["results"]:
        step = result["step"]
        if step["op"] in ELSEWHERE or step.get("open") in NOT_YET_OPEN:
            return False
        if step.get("file", "").startswith("@") and not DUMMY.exists():
            return False
    return True


ALL = [case for case in recording("errno-6.1.json") if replayable(case)]


def differences(case: dict) -> list[str]:
    replay = Replay(BOOT.get(case["case"], ""))
    found = []
    for expected in case["results"]:
        got = replay.step(expected["step"])
        if expected.get("status") == "crash":
            if got["status"] != "crash" or got["sig"] != expected["sig"]:
                found.append(f"{expected['step']}: the caller lives")
            continue
        if expected["rc"] is not None and expected["rc"] < -1:
            if got["rc"] != expected["rc"]:
                found.append(f"{expected['step']}: result {got['rc']}, not {expected['rc']}")
        elif got["errno"] != expected["errno"]:
            found.append(f"{expected['step']}: errno {got['errno']}, not {expected['errno']}")
        if comparable(got["dmesg"]) != comparable(expected["dmesg"]):
            found.append(
                f"{expected['step']}: dmesg {comparable(got['dmesg'])}, not {comparable(expected['dmesg'])}"
            )
        if expected.get("out") is not None and normalize(got.get("out", "")) != normalize(expected["out"]):
            found.append(f"{expected['step']}: {got.get('out')!r}, not {expected['out']!r}")
    return found


@pytest.mark.parametrize("case", [c for c in ALL if c["case"] not in UNLIKE], ids=lambda case: case["case"])
def test_answers_as_the_real_kernel(case):
    assert differences(case) == []


@pytest.mark.parametrize("case", [c for c in ALL if c["case"] in UNLIKE], ids=lambda case: case["case"])
def test_known_differences_are_still_there(case):
    """A difference that went away belongs in the test above."""
    assert differences(case) != [], f"{case['case']} now answers right: {UNLIKE[case['case']]}"
