"""Running the steps of a recording on an emulated machine, and making both answers comparable."""

import os
import re
from io import BytesIO
from pathlib import Path

from elftools.elf.elffile import ELFFile

from kmod_emu import Kernel, KernelError, Killed, Process
from kmod_emu.sweep.compare import comparable  # noqa: F401 - for the tests beside this
from kmod_emu.sweep.compare import normalize as without_machine
from tests.conftest import RECORDINGS

CASES = RECORDINGS / "errno-cases"
DUMMY = Path("/lib/modules/6.1.0-56-amd64/kernel/drivers/net/dummy.ko")  # signed by Debian
BUSYBOX = Path("/bin/busybox")
MAX_ERRNO = 4095


def normalize(text: str) -> str:
    """Without what differs from machine to machine, and the times of `ls -l`."""
    return re.sub(r"Nov \d\d \d\d:\d\d", "TIME", without_machine(text))


class Replay:
    """One machine and the outcome of each step.

    Args:
        cmdline: Boot options.
        signed: What is loaded where the recording says @dummy.
    """

    def __init__(self, cmdline: str = "", signed: Path = DUMMY) -> None:
        self.kernel = Kernel(cmdline=cmdline)
        self._signed = signed
        self.background: Process | None = None

    def step(self, step: dict) -> dict:
        """Run one step: `errno`, `dmesg` (with levels) and `out`, as the recording has them."""
        before = self.kernel.printk.sequence
        outcome = {"errno": 0, "status": "ok", "rc": None}
        try:
            out = getattr(self, f"_{step['op']}")(step)
            if out is not None:
                outcome["out"] = out
        except Killed as death:
            outcome.update(status="crash", sig=death.signal, errno=None)
        except KernelError as error:
            if error.errno <= MAX_ERRNO:
                outcome["errno"], outcome["rc"] = error.errno, -1
            else:
                outcome["rc"] = -error.errno  # the C library takes it for a result
        outcome["dmesg"] = [
            f"<{record.level}>{line}"
            for record in self.kernel.printk.readable()
            if record.sequence >= before
            for line in record.kmsg().split("\n")
        ]
        return outcome

    def _image(self, step: dict) -> bytes:
        name = step["file"]
        if name.startswith("/"):
            return Path(name).read_bytes()
        if not name.startswith("@"):
            return (CASES / f"{name}.ko").read_bytes()
        image = self._signed.read_bytes()
        if name == "@dummy_flip":
            offset = ELFFile(BytesIO(image)).get_section_by_name(".text")["sh_offset"]
            return image[:offset] + bytes([image[offset] ^ 1]) + image[offset + 1 :]
        return {"@dummy": image, "@dummy_notail": image[:-1]}[name]

    def _process(self, step: dict) -> Process:
        capabilities = 0 if step.get("nocap") else None
        return self.kernel.process(uid=step.get("uid", 0), comm="init", capabilities=capabilities)

    def _finit(self, step: dict) -> None:
        process = self._process(step)
        call = (self._descriptor(process, step), self._params(process, step), step.get("flags", 0))
        if step.get("bg"):
            process.start("finit_module", *call)
            self.kernel.sleep(step["ms"] / 1000)
            self.background = process
            return
        with process:
            self._check(process.syscall("finit_module", *call))

    def _descriptor(self, process: Process, step: dict) -> int:
        """What the recording opened: the module read-only, or something else."""
        how = step.get("open", "rdonly")
        if how in ("rdonly", "rdwr", "wronly"):
            return process.memfd(
                self._image(step), {"rdonly": os.O_RDONLY, "rdwr": os.O_RDWR, "wronly": os.O_WRONLY}[how]
            )
        if how == "badfd":
            return 99
        if how == "pipe":
            return process.pipe()[0]
        return process.open({"devnull": "/dev/null", "devzero": "/dev/zero", "dir": "/proc"}[how])

    def _waitbg(self, step: dict) -> None:
        assert self.background
        with self.background as process:
            self._check(process.wait())

    def _init(self, step: dict) -> None:
        with self._process(step) as process:
            image = self._image(step)
            length = step.get("len", len(image))
            pointer = step.get("ptr")
            if pointer == "EDGE":  # the buffer ends where the mapping ends
                size = -len(image) % 4096
                address = process.put(bytes(size) + image) + size
            elif pointer:
                address = {"NULL": 0, "BAD": 8}[pointer]
            else:
                address = process.put(image)
            self._check(process.syscall("init_module", address, length, self._params(process, step)))

    def _delete(self, step: dict) -> None:
        with self._process(step) as process:
            pointers = {"NULL": 0, "BAD": 8}
            name = (
                pointers.get(step["name"])
                if step["name"] in pointers
                else process.put(step["name"].encode() + b"\0")
            )
            self._check(process.syscall("delete_module", name, step["flags"]))

    @staticmethod
    def _params(process, step: dict) -> int:
        """Address of the parameters; NULL and BAD are pointers."""
        if step["params"] in ("NULL", "BAD"):
            return {"NULL": 0, "BAD": 8}[step["params"]]
        text = step["params"].encode("latin-1").ljust(step.get("plen", 0), b"x")
        return process.put(text + b"\0")

    @staticmethod
    def _check(result: int) -> None:
        if result < 0:
            raise KernelError(-result)

    def _sh(self, step: dict) -> str:
        """A script, run by a real busybox."""
        script = ["-c", f"exec 2>&1; {step['cmd']}"]
        cases, uid = {str(CASES): "/tmp/c"}, step.get("uid", 0)
        return self.kernel.exec("/bin/sh", script, busybox=BUSYBOX, binds=cases, uid=uid).stdout.decode()

    def _read(self, step: dict) -> str:
        with self._process(step) as process:
            return process.read_file(step["path"]).decode("latin-1")

    def _ls(self, step: dict) -> str:
        with self._process(step) as process:
            return "".join(f"{name}\n" for name in process.listdir(step["path"]))

    def _write(self, step: dict) -> None:
        with self._process(step) as process:
            fd = process.open(step["path"], os.O_WRONLY)
            process.write(fd, step["data"].encode())
