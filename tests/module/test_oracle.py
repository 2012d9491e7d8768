"""The module system calls against what a real Debian 6.1 kernel answered: errno, dmesg, files."""

import pytest

from tests.conftest import recording
from tests.module.replay import DUMMY, Replay, comparable, normalize

LEFT_OUT = {"busybox:insmod": "two of its modules are not among the files"}
UNLIKE = {
    "perm:lockdown_integrity": "one step loads dummy, whose init calls rtnl_link_register",
    "signed:notail": "its init calls rtnl_link_register, which is not implemented",
}
BOOT = {"boot:nomodule": "nomodule", "boot:module_blacklist": "module_blacklist=h_hello,h-exp"}


def replayable(case: dict) -> bool:
    """Whether its files are here: the distribution's own module need not be installed."""
    files = [result["step"].get("file", "") for result in case["results"]]
    return case["case"] not in LEFT_OUT and (DUMMY.exists() or not any(f.startswith("@") for f in files))


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
