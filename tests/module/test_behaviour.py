"""Recorded shell sessions with modules, here as the system calls that the commands make.

busybox's insmod tries init_module(2) when finit_module(2) fails, so a refusal is in dmesg twice.
"""

import errno
import os

from kmod_emu import Kernel, KernelError
from tests.conftest import RECORDINGS, recording
from tests.module.replay import comparable

SESSIONS = {session["name"]: session["steps"] for session in recording("behaviour-6.1.json")}


class Session:
    """A machine, and a recorded session that is followed step by step."""

    def __init__(self, name: str) -> None:
        self.kernel = Kernel()
        self._steps = iter(SESSIONS[name])

    def follows(self, *commands) -> str:
        """Run the commands of the next step: their output, after comparing dmesg with the recorded one."""
        printed, step = self.kernel.printk.sequence, next(self._steps)
        out = "".join(command(self) or "" for command in commands)
        lines = [
            f"<{record.level}>{record.kmsg()}"
            for record in self.kernel.printk.readable()
            if record.sequence >= printed
        ]
        assert comparable(lines) == comparable(step["dmesg"])
        assert out == step["out"]
        return out

    def cat(self, path: str) -> str:
        return self.kernel.cat(path).decode()


def insmod(name: str, params: str = "", *, echo: bool = False):
    """busybox insmod, which says nothing about a success."""

    def command(session: Session) -> str:
        image = (RECORDINGS / "behaviour" / f"{name}.ko").read_bytes()
        with session.kernel.process(comm="insmod") as process:
            try:
                try:
                    process.finit_module(image, params)
                except KernelError:
                    process.init_module(image, params)
            except KernelError as error:
                special = {errno.ENOENT: "unknown symbol in module, or unknown parameter"}
                text = special.get(error.errno, os.strerror(error.errno))
                return f"insmod: can't insert '/b/{name}.ko': {text}\n" + f"rc={error.errno}\n" * echo
        return "rc=0\n" * echo

    return command


def rmmod(name: str, *, echo: bool = False):
    """busybox rmmod."""

    def command(session: Session) -> str:
        try:
            session.kernel.rmmod(name)
        except KernelError as error:
            return f"rmmod: can't unload module '{name}': {error.strerror}\n" + "rc=1\n" * echo
        return "rc=0\n" * echo

    return command


def modules(session: Session) -> str:
    """cut -d" " -f1-5 /proc/modules"""
    return "".join(" ".join(line.split()[:5]) + "\n" for line in session.cat("/proc/modules").splitlines())


def write(path: str, text: str):
    """echo text > path, in busybox's sh: what it complains of, and its status."""

    def command(session: Session) -> tuple[str, int]:
        with session.kernel.process() as process:
            try:
                fd = process.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            except KernelError as error:
                return f"sh: can't create {os.path.basename(path)}: {error.strerror}\n", 1
            try:
                process.write(fd, text.encode())
            except KernelError as error:
                return f"sh: write error: {error.strerror}\n", 1
        return "", 0

    return command


def test_a_module_sees_the_others_come_and_go():
    session = Session("notif")
    session.follows(insmod("b_notif", echo=True))
    session.follows(insmod("b_param"), insmod("b_param", echo=True), rmmod("b_param"))
    session.follows(insmod("b_param", "ranged=99", echo=True))
    session.follows(
        rmmod("b_notif"), insmod("b_notif", "veto=b_param"), insmod("b_param", echo=True), modules
    )
    assert session.kernel.held()["notifiers"] == 1


def test_provider_and_consumer():
    def look(session: Session) -> str:
        (line,) = (line for line in session.cat("/proc/kallsyms").splitlines() if "b_next" in line.split())
        listing = "Module                  Size  Used by    Tainted: G  \n"
        for module in session.kernel.modules:
            names = ",".join(user.name for user in module.users)
            listing += f"{module.name:<20}{module.size:8d}  {module.refcnt} {names}\n"
        with session.kernel.process() as process:
            holders = process.listdir("/sys/module/b_provider/holders")
        refcnt = session.cat("/sys/module/b_provider/refcnt")
        return listing + "".join(f"{name}\n" for name in holders) + refcnt + line.partition(" ")[2] + "\n"

    session = Session("deps")
    session.follows(insmod("b_consumer", echo=True))
    session.follows(insmod("b_provider", echo=True), insmod("b_consumer", echo=True), modules, look)
    session.follows(rmmod("b_provider", echo=True))
    session.follows(
        rmmod("b_consumer", echo=True),
        insmod("b_consumer"),
        rmmod("b_consumer"),
        rmmod("b_provider", echo=True),
        modules,
    )


PARAMETERS = "/sys/module/b_param/parameters"


def test_parameters_given_and_written():
    def show(session: Session) -> str:
        with session.kernel.process() as process:
            names = sorted(process.listdir(PARAMETERS))
            found = {name: f"{PARAMETERS}/{name}" for name in names}
            modes = {name: process.stat(path).mode & 0o7777 for name, path in found.items()}
        return "".join(f"{name} {modes[name]:o} {session.cat(path)}" for name, path in found.items())

    def writes(session: Session) -> str:
        out = ""
        for words in WRITES:
            name, value = words.split()
            complaint, status = write(f"{PARAMETERS}/{name}", f"{value}\n")(session)
            out += f"{complaint}write {words} rc={status} -> {session.cat(f'{PARAMETERS}/{name}')}"
        assert write(f"{PARAMETERS}/level", "")(session) == ("", 0)
        return out + "empty rc=0\ndd=0\n"

    def names(session: Session) -> str:
        with session.kernel.process() as process:
            found = "".join(f"{name}\n" for name in sorted(process.listdir(PARAMETERS)))
        return session.cat(f"{PARAMETERS}/level") + found

    session = Session("param")
    session.follows(insmod("b_param", "level=5 name=joe arr=7,8 verbose ranged=3", echo=True), show)
    session.follows(writes)
    session.follows(rmmod("b_param", echo=True))
    session.follows(
        insmod("b_param", "ranged=12", echo=True),
        insmod("b_param", "bogus=1 level=3", echo=True),
        names,
        rmmod("b_param"),
        insmod("b_param", "arr=1,2,3,4", echo=True),
        insmod("b_param", "name=two words", echo=True),
    )


WRITES = (
    "level 9", "level -1", "level x", "level 1x", "level 0x10", "verbose N", "verbose 1", "verbose maybe",
    "ranged 9", "ranged 10", "ranged foo", "arr 4,5,6", "arr 4,5,6,7", "name bob",
)  # fmt: skip
