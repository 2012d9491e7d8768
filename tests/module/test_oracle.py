"""The module system calls against what a real Debian 6.1 kernel answered: errno, dmesg, files."""

import pytest

from tests.conftest import recording
from tests.module.replay import BUSYBOX, DUMMY, Replay, comparable, normalize

# The init of @dummy makes a network device, which the stub kernel has not: another signed module stands in.
STANDS_IN = dict.fromkeys(("perm:lockdown_integrity", "signed:notail"), DUMMY.parents[2] / "lib/crc8.ko")
# Two modules of this script are not among the recorded files: without these commands and what they printed.
CUT = {
    "insmod /tmp/c/h_unk.ko; echo rc=$?; ": (
        "insmod: can't insert '/tmp/c/h_unk.ko': unknown symbol in module, or unknown parameter\nrc=2\n"
    ),
    "; insmod /tmp/c/h_noexit.ko; rmmod h_noexit; echo rc=$?": (
        "rmmod: can't unload module 'h_noexit': Device or resource busy\nrc=1\n"
    ),
}
BOOT = {"boot:nomodule": "nomodule", "boot:module_blacklist": "module_blacklist=h_hello,h-exp"}


def absent(case: dict) -> str:
    """What would have to be installed to replay a case."""
    steps = [result["step"] for result in case["results"]]
    if any(step.get("file", "").startswith("@") for step in steps) and not DUMMY.exists():
        return f"the distribution's {DUMMY} is not installed"
    if any(step["op"] == "sh" for step in steps) and not BUSYBOX.exists():
        return "Debian's package busybox-static is absent"
    return ""


def cut(result: dict) -> dict:
    """A recorded step, without what needs files that were not recorded."""
    step, out, dmesg = dict(result["step"]), result.get("out"), result["dmesg"]
    for command, printed in CUT.items():
        if command in step.get("cmd", ""):
            step["cmd"], out = step["cmd"].replace(command, ""), out.replace(printed, "")
            dmesg = [line for line in dmesg if not line[3:].startswith(("h_unk:", "h_noexit:"))]
    return {**result, "step": step, "out": out, "dmesg": dmesg}


def signed_by(name: str, result: dict) -> dict:
    """A recorded step, as if another module than dummy had been loaded."""
    return {
        **result,
        "dmesg": [line.replace("dummy:", f"{name}:") for line in result["dmesg"]],
        "out": result["out"] and result["out"].replace("dummy ", f"{name} "),
    }


def differences(case: dict) -> list[str]:
    signed = STANDS_IN.get(case["case"], DUMMY)
    replay = Replay(BOOT.get(case["case"], ""), signed)
    found = []
    for result in case["results"]:
        expected = signed_by(signed.stem, cut(result))
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


@pytest.mark.parametrize("case", recording("errno-6.1.json"), ids=lambda case: case["case"])
def test_answers_as_the_real_kernel(case):
    if reason := absent(case):
        pytest.skip(reason)
    assert differences(case) == []
