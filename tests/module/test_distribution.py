"""The distribution's own modules, each with what it depends on, against what a real kernel made of them."""

from pathlib import Path

import pytest

from tests.conftest import recording
from tests.module.replay import DUMMY, Replay, comparable, normalize

TOP = DUMMY.parents[3]
CASES = recording("modules-6.1.json")
SEPARATOR = ":"  # modules.dep: path, colon, what it needs


@pytest.fixture(scope="module")
def paths() -> dict[str, Path]:
    """Where each module's file is."""
    index = TOP / "modules.dep"
    if not index.exists():
        pytest.skip(f"{TOP} is not installed")
    names = [line.partition(SEPARATOR)[0] for line in index.read_text().splitlines()]
    return {Path(name).name.partition(".")[0].replace("-", "_"): TOP / name for name in names}


def as_recorded(got: dict, expected: dict) -> bool:
    return (got["status"], got["errno"], comparable(got["dmesg"])) == (
        "ok",
        expected["errno"],
        comparable(expected.get("dmesg", [])),
    )


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["module"])
def test_a_module_of_the_distribution(paths, case):
    replay, name = Replay(), case["module"]
    for step in (*case["deps"], {**case, "name": name}):
        got = replay.step({"op": "finit", "file": str(paths[step["name"]]), "params": ""})
        assert as_recorded(got, step), (step, got)
    if "unload" in case:
        assert listed(replay, name) == case["proc_modules"]
        assert shown(replay, name, case["sys_module"]) == case["sys_module"]
        look_up(replay, case.get("added", {}))
        got = replay.step({"op": "delete", "name": name, "flags": 0})
        assert as_recorded(got, case["unload"]), got
    assert replay.kernel.faults.unimplemented == []


def listed(replay: Replay, name: str) -> str:
    """Its line of /proc/modules, without the address."""
    lines = replay.kernel.cat("/proc/modules").decode().splitlines()
    line = next(line for line in lines if line.startswith(f"{name} "))
    return normalize(line).replace(" ADDR", "")


def shown(replay: Replay, name: str, asked: dict) -> dict:
    """What is asked for of its directory in /sys/module."""
    top = f"/sys/module/{name}"
    with replay.kernel.process() as process:

        def parameter(path: str) -> dict:
            mode = process.stat(path).mode & 0o7777
            return {"mode": f"{mode:o}", "value": process.read_file(path).decode().removesuffix("\n")}

        facts = {
            file: process.read_file(f"{top}/{file}").decode().strip()
            for file in asked.keys() - {"entries", "parameters"}
        }
        facts["entries"] = sorted(process.listdir(top))
        if "parameters" in asked:
            place = f"{top}/parameters"
            facts["parameters"] = {name: parameter(f"{place}/{name}") for name in process.listdir(place)}
        return facts


def look_up(replay: Replay, added: dict) -> None:
    """What the real kernel had in /sys/class and /dev afterwards is there."""
    with replay.kernel.process() as process:
        for entry in added.get("sys_class", []):
            process.stat(f"/sys/class/{entry}")
        for entry in added.get("dev", []):
            process.stat(entry.split()[0])
