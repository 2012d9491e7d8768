"""The same module and the same program on a real kernel in QEMU, where that is installed.

Left out, with no rows, where qemu-system-x86_64, gcc or a kernel of the sample's release is missing. QEMU
translates (no KVM), as we do; it runs in a virtual machine of its own and needs no root.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from benchmarks.timing import Effort, Row, best, seconds
from kmod_emu import Kernel, samples

_SOURCE = Path(__file__).with_name("qemu_init.c")
_RESULT = re.compile(rb"read (\d+): ([\d.]+) ns")
_CALLS, _SIZE = 20_000, 256
_BOOT_LIMIT = 300  # seconds


def available() -> bool:
    """Whether this computer has what the comparison needs."""
    return bool(shutil.which("qemu-system-x86_64") and shutil.which("gcc") and _vmlinuz())


def _vmlinuz() -> Path | None:
    return next(iter(sorted(Path("/boot").glob("vmlinuz-6.1.0-*-amd64"))), None)


def _cpio(files: dict[str, bytes]) -> bytes:
    """An archive of executable files in the `newc` format (Documentation/driver-api/early-userspace)."""
    archive = b""
    for number, (name, contents) in enumerate({**files, "TRAILER!!!": b""}.items(), 1):
        fields = (number, 0o100755, 0, 0, 1, 0, len(contents), 0, 0, 0, 0, len(name) + 1, 0)
        head = b"070701" + b"".join(b"%08x" % field for field in fields) + name.encode() + b"\0"
        archive += head + bytes(-len(head) % 4) + contents + bytes(-len(contents) % 4)
    return archive


def _boot(folder: Path, program: bytes, module: bytes) -> tuple[float, dict[int, float]]:
    """Boot, load, read, power off: seconds in all, and nanoseconds a read by its size."""
    initrd = folder / "initrd"
    initrd.write_bytes(_cpio({"init": program, "echo.ko": module}))
    command = ["qemu-system-x86_64", "-accel", "tcg", "-cpu", "max", "-m", "256", "-display", "none",
               "-serial", "stdio", "-no-reboot", "-kernel", str(_vmlinuz()), "-initrd", str(initrd),
               "-append", "console=ttyS0 quiet panic=-1"]  # fmt: skip
    output = b""

    def run() -> None:
        nonlocal output
        output = subprocess.run(command, capture_output=True, timeout=_BOOT_LIMIT, check=True).stdout

    took = seconds(run)
    return took, {int(size): float(time) for size, time in _RESULT.findall(output)}


def measure(effort: Effort) -> list[Row]:
    """Calls and bytes a second through the module, by a program; and from nothing to a loaded module."""
    if not available():
        return []
    calls = max(int(_CALLS * effort.scale), 1)
    module = samples.path("echo").read_bytes()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        built = folder / "program"
        subprocess.run(["gcc", "-O2", "-static", "-o", built, _SOURCE], check=True)
        program = built.read_bytes()
        (folder / "echo.ko").write_bytes(module)

        def ours(calls: int, size: int = 1) -> float:
            def run() -> None:
                result = Kernel().exec(
                    program, [str(calls), str(size)], binds={str(folder / "echo.ko"): "/echo.ko"}
                )
                assert result.status == 0, result

            return seconds(run)

        took, theirs = _boot(folder, program, module)
        once, small, large = best(
            effort, lambda: ours(1), lambda: ours(calls + 1), lambda: ours(calls + 1, _SIZE)
        )
    rates = {size: calls / max(time - once, 1e-9) for size, time in ((1, small), (_SIZE, large))}
    return [
        Row("a program's pread(2), QEMU", "k/s", rates[1] / 1e3, 1e6 / theirs[1], 0.01),
        Row("256 bytes each", "MB/s", rates[_SIZE] * _SIZE / 1e6, _SIZE * 1e3 / theirs[_SIZE], 0.01),
        Row("from nothing to it, once", "s", once, took - 1e-9 * _boot_reads(theirs), 0.1, at_most=True),
    ]


def _boot_reads(theirs: dict[int, float]) -> float:
    """Nanoseconds that QEMU's run spent reading."""
    return 50_000 * sum(theirs.values())
