"""The rule of the house: a room imports only from rooms below it."""

import ast
from pathlib import Path

import kmod_emu

ROOMS = [
    "uapi",
    "kbuild",
    "machine",
    "devices",
    "abi",
    "kernel",
    "fs",
    "net",
    "drivers",
    "module",
    "user",
    "kmod",
    "vmlinux",
    "classic",
    "debug",
    "sanitize",
    "observe",
    "sweep",
    "labs",
    "cli",
]  # from the ground up
PACKAGE = Path(kmod_emu.__file__).parent


def imported_rooms(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
        elif isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
    return {name.split(".")[1] for name in names if name.startswith("kmod_emu.")}


def test_arrows_point_downwards():
    upward = []
    for path in PACKAGE.rglob("*.py"):
        room = path.relative_to(PACKAGE).parts[0]
        if room in ROOMS:
            above = set(ROOMS[ROOMS.index(room) + 1 :])
            upward += [f"{path}: {name}" for name in imported_rooms(path) & above]
    assert upward == []


def test_the_ground_floor_knows_nothing_of_linux():
    for path in (PACKAGE / "machine").glob("*.py"):
        assert imported_rooms(path) <= {"machine", "uapi"}, path
