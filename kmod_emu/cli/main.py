"""kmod-emu: the command line. Parses, calls the API, prints; each command imports what it needs."""

from __future__ import annotations

import atexit
import gc
import io
import os
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from kmod_emu import __version__
from kmod_emu.errors import KernelError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

USAGE_ERROR, INTERNAL_ERROR, INTERRUPTED = 2, 70, 130
AHEAD = "kmod_emu.ahead"  # in a context: who unpacks the kernel that the arguments name
CLASSIC_SUFFIX = ".classic"  # of the files of machines of the 2.4 personality
UID = click.IntRange(0, (1 << 32) - 2)  # -1 is no user id

SANITIZE = click.option(
    "--sanitize",
    type=click.Choice(["all", "default", "off"]),
    default="default",
    show_default=True,
    help="What to check modules for: what costs little, or all.",
)

_TOOL = ("kmod_emu.cli.command", "ToolCommand")  # the command is main() of kmod_emu.kmod.NAME

# Command -> the module that has it and its name there. Only the one that runs is imported.
COMMANDS = {
    "run": ("kmod_emu.cli.run", "run"),
    "trace": ("kmod_emu.cli.trace", "trace"),
    "faults": ("kmod_emu.cli.faults", "faults"),
    "conform": ("kmod_emu.cli.conform", "conform"),
    "report": ("kmod_emu.cli.report", "report"),
    "serve": ("kmod_emu.cli.serve", "serve"),
    "exec": ("kmod_emu.cli.exec", "exec_"),
    "debug": ("kmod_emu.cli.debug", "debug"),
    "drgn": ("kmod_emu.cli.drgn", "drgn"),
    "gdbserver": ("kmod_emu.cli.gdbserver", "gdbserver"),
    "record": ("kmod_emu.cli.recording", "record"),
    "replay": ("kmod_emu.cli.recording", "replay"),
    "boot": ("kmod_emu.cli.tools", "boot"),
    "insmod": _TOOL,
    "rmmod": _TOOL,
    "lsmod": _TOOL,
    "dmesg": _TOOL,
    "syslog": _TOOL,
    "modinfo": _TOOL,
    "modprobe": _TOOL,
    "depmod": _TOOL,
    "ksyms": _TOOL,
    "cat": ("kmod_emu.cli.tools", "cat"),
    "devices": ("kmod_emu.cli.files", "devices"),
    "echo": ("kmod_emu.cli.files", "echo"),
    "mknod": ("kmod_emu.cli.files", "mknod"),
    "stat": ("kmod_emu.cli.files", "stat"),
    "ls": ("kmod_emu.cli.listing", "ls"),
    "sleep": ("kmod_emu.cli.tools", "sleep"),
    "new": ("kmod_emu.cli.build", "new"),
    "build": ("kmod_emu.cli.build", "build"),
    "coverage": ("kmod_emu.cli.coverage", "command"),
    "sweep": ("kmod_emu.cli.sweep", "sweep"),
    "grade": ("kmod_emu.cli.grade", "grade"),
    "shell": ("kmod_emu.cli.shell", "shell"),
    "install-tools": ("kmod_emu.cli.install", "install_tools"),
    "completion": ("kmod_emu.cli.completion", "completion"),
    "profile": ("kmod_emu.cli.profile", "profile"),
    "kernel": ("kmod_emu.cli.kernel", "kernel"),
    "kerneld": ("kmod_emu.cli.classic", "wrong_machine"),
    "compare-paths": ("kmod_emu.cli.classic", "compare_paths"),
}
# With --classic, where that is another command.
_CLASSIC_TOOL = ("kmod_emu.cli.command", "ClassicCommand")  # likewise of kmod_emu.classic.NAME
CLASSIC = {
    **dict.fromkeys(
        ("insmod", "rmmod", "lsmod", "ksyms", "modinfo", "modprobe", "depmod", "kerneld", "dmesg"),
        _CLASSIC_TOOL,
    ),
    **{name: ("kmod_emu.cli.classic", name) for name in ("boot", "run", "devices")},
}
_BOTH = {"syslog", "cat", "echo", "mknod", "stat", "ls", "sleep", "exec", "shell",
         "install-tools", "completion", "compare-paths"}  # fmt: skip
TOOLS = tuple(name for name, place in COMMANDS.items() if place is _TOOL)
_HELP = {
    "run": "Load a module on a fresh machine, show every step, and remove it again.",
    "trace": "Print each call that a module makes, with its arguments and result, and each of its functions.",
    "faults": "Let each call of a module's init that may fail do so, and say what comes of it.",
    "conform": "Load modules by our loader and by a kernel's own, and say what differs.",
    "report": "Write a page that shows what a module does, from insmod to rmmod.",
    "serve": "Show that page live: go through the steps, and look at memory as it was at each.",
    "exec": "Run a Linux program on the machine, such as busybox.",
    "debug": "Stop at the first instruction of a module's init, and step from there, also backwards.",
    "drgn": "Open drgn on the memory of the kept machine.",
    "gdbserver": "Wait for gdb at the first instruction of a module's init.",
    "record": "Keep a run of a module in a file, to repeat or debug it later, or on another computer.",
    "replay": "Do a recorded run again.",
    "boot": "Start a fresh machine and keep it for the commands below.",
    "insmod": "Load a module into the kept machine.",
    "rmmod": "Remove modules from the kept machine.",
    "lsmod": "List the modules of the kept machine.",
    "dmesg": "Print the kernel log of the kept machine.",
    "syslog": "Print the system log of the kept machine, as /var/log/syslog has it.",
    "modinfo": "Show what a module file says about itself.",
    "modprobe": "Load or remove modules by name, with what they need.",
    "depmod": "Find out which module of a tree needs which, and write the files that modprobe reads.",
    "ksyms": "List the symbols that modules may use, with their addresses.",
    "cat": "Print files of the kept machine, such as /proc/modules.",
    "devices": "Print the table of drivers: devices, and the functions behind their operations.",
    "echo": "Write text to a file of the kept machine.",
    "mknod": "Make a device file on the kept machine.",
    "stat": "Show what stat(2) says of files of the kept machine.",
    "ls": "List a directory of the kept machine, such as /sys/module.",
    "new": "Write a new module that builds: a device, a file in /proc, a timer, ...",
    "build": "Build the modules of a directory with kbuild.",
    "coverage": "Say which kernel functions modules import, and which are implemented.",
    "sweep": "Load all modules of a directory, each on a fresh machine, and count what came of it.",
    "grade": "Judge submissions by the tests of a lab, each in a process of its own with limits.",
    "sleep": "Let time pass on the kept machine: its threads and timers go on.",
    "shell": "A prompt with these commands, on the kept machine.",
    "install-tools": "Write the tools under their own names to a directory, for scripts.",
    "completion": "Print what a shell needs to complete words of kmod-emu.",
    "profile": "Make, list and look into kernel profiles.",
    "kernel": "Add, fetch and list the distributions' kernels that --kernel boots.",
    "kerneld": "With --classic: start the daemon that the kernel asked for modules before 2.2.",
    "compare-paths": "Load a sample on both machines: what moved from insmod to the kernel since 2.4.",
}


atexit.register(gc.freeze)  # looking for garbage in what ends anyway takes a tenth of a short command


@contextmanager
def nothing_collected() -> Iterator[None]:
    """While a process starts there is no garbage; looking for it all the same takes a sixth of the time."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


class LazyGroup(click.Group):
    """A group that knows its commands by name and imports the one that is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All names, in the order of use."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one command."""
        if cmd_name not in COMMANDS:
            return None
        from importlib import import_module

        place = COMMANDS[cmd_name]
        if is_classic(ctx):
            there = cmd_name in _BOTH
            place = CLASSIC.get(cmd_name, place if there else ("kmod_emu.cli.classic", "wrong_machine"))
        module, name = place
        with nothing_collected():
            found: Any = getattr(import_module(module), name)
            if not gc.get_freeze_count():  # nor later: what the process began with stays
                gc.freeze()
        command: click.Command = found(cmd_name) if place in (_TOOL, _CLASSIC_TOOL) else found
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command in the arguments; a kernel that they name is unpacked meanwhile."""
        kernel = _value_of("--kernel", args)
        if kernel is not None and not ctx.resilient_parsing:
            from kmod_emu.vmlinux.ahead import Unpacking

            ctx.meta[AHEAD] = Unpacking(kernel)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list in --help, from the table: listing imports nothing."""
        with formatter.section("Commands"):
            formatter.write_dl(list(_HELP.items()))

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; Ctrl-C ends it without a word."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            ctx.exit(INTERRUPTED)

    def main(self, args: Sequence[str] | None = None, *rest: Any, **extra: Any) -> Any:
        """Run, and turn what nobody expected into one sentence instead of a traceback."""
        _accept_any_text()
        called = os.path.basename(sys.argv[0])
        if args is None and called in TOOLS:  # by a link of that name
            args = [called, *sys.argv[1:]]
        try:
            return super().main(args, *rest, **extra)
        except (KernelError, OSError) as error:
            if isinstance(error, BrokenPipeError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nobody reads any more
                sys.exit(1)
            click.echo(f"kmod-emu: {_sentence(error)}", err=True)
            sys.exit(1)
        except Exception as error:
            if os.environ.get("KMOD_EMU_DEBUG"):
                raise
            text = f"{type(error).__name__}: {error}"
            click.echo(
                f"kmod-emu: internal error: {text}; please report it (KMOD_EMU_DEBUG=1 shows more)", err=True
            )
            sys.exit(INTERNAL_ERROR)


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--state",
    envvar="KMOD_EMU_STATE",
    metavar="FILE",
    help="Where the kept machine lives. [env: KMOD_EMU_STATE; default: your state directory]",
)
@click.option(
    "--classic", is_flag=True, help="Work on a machine of its own that loads modules as Linux 2.4 did."
)
@click.version_option(__version__, prog_name="kmod-emu")
@click.pass_context
def main(ctx: click.Context, state: str | None, classic: bool) -> None:
    """Load, run and watch real Linux kernel modules, without root and without a virtual machine.

    Start with `kmod-emu run hello`, a sample that comes along.
    """
    ctx.obj = state
    if is_classic(ctx):
        from kmod_emu.cli.machine import classic_path

        ctx.obj = classic_path(state)


def _value_of(option: str, args: list[str]) -> str | None:
    """What follows an option, if it is there."""
    for place, word in enumerate(args):
        name, equals, value = word.partition("=")
        if name == option:
            return value if equals else next(iter(args[place + 1 :]), None)
    return None


def is_classic(ctx: click.Context) -> bool:
    """Whether the machine meant is one of Linux 2.4: by the option, or by its file's name."""
    params = ctx.find_root().params
    return bool(params.get("classic") or (params.get("state") or "").endswith(CLASSIC_SUFFIX))


def colour(text: str) -> str:
    """Bold, on a terminal that wants colours."""
    if sys.stdout.isatty() and not os.environ.get("NO_COLOR"):
        return click.style(text, bold=True)
    return text


def _accept_any_text() -> None:
    """Let file names that are no UTF-8 through, and print what the terminal's encoding lacks as codes."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            unicode = stream.encoding.lower().replace("-", "") == "utf8"
            stream.reconfigure(errors="surrogateescape" if unicode else "backslashreplace")


def _sentence(error: OSError) -> str:
    """What went wrong, without numbers, and harmless for a terminal."""
    text = getattr(error, "explanation", "") or error.strerror or str(error)
    if error.filename is not None:
        text = f"{os.fsdecode(error.filename)}: {text}"
    from kmod_emu.text import escape

    return escape(text.encode("utf-8", "surrogateescape"))


if __name__ == "__main__":
    main()
