"""kmod-emu install-tools: the module tools under their own names, for scripts that were written for Linux."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from pathlib import Path

import click

from kmod_emu.cli.main import TOOLS

_TOOL = """\
#!/bin/sh
# {name} on the machine that kmod-emu keeps.
exec {python} -P -m kmod_emu.cli.main {options}{name} "$@"
"""

# What the machine has, but for what a program has open or is.
_FILE_TOOL = """\
#!/bin/sh
# {name} on files of the machine that kmod-emu keeps, {host} on others.
its() {{
	case $1 in
	/dev/null|/dev/std*|/dev/fd|/dev/fd/*|/dev/tty*|/dev/pts*|/dev/shm*|/proc/self*|/proc/[0-9]*) return 1 ;;
	/proc|/proc/*|/sys|/sys/*|/dev|/dev/*|/var/log/syslog) return 0 ;;
	esac
	return 1
}}
on_machine() {{
	{prepare}exec {python} -P -m kmod_emu.cli.main {options}{command} "$@"
}}
{decide}
exec {host} "$@"
"""
_ANY_WORD = 'for word do if its "$word"; then on_machine "$@"; fi; done'
_LAST_WORD = 'for word do :; done\nif its "${word-}"; then on_machine "$@"; fi'  # the first may be a pattern
# Whoever writes into the pipe may be waiting for the machine: read all before taking it.
_READ_ALL = 'input=$(mktemp); {cat} >"$input"; exec <"$input"; {rm} -f "$input"\n\t'
_OWN_FILE_TOOLS = ("cat", "ls", "mknod", "stat")
_BUSYBOX_FILE_TOOLS = (
    *_OWN_FILE_TOOLS,
    "chmod",
    "chown",
    "grep",
    "head",
    "hexdump",
    "od",
    "rm",
    "tail",
    "tee",
    "wc",
)
_BUSYBOX = "/bin/busybox"

# sudo(8)'s options that take an argument are C D R T U c g h p r t u.
_SUDO = """\
#!/bin/sh
# sudo where whoever calls is root already: drops its own word and options. A tool of this directory is meant
# even where its path in the system is given.
while [ $# -gt 0 ]; do
	case $1 in
	--) shift; break ;;
	--chroot|--chdir|--close-from|--group|--host|--other-user|--prompt|--role|--type|--user|--command-timeout)
		shift ;;
	--*|-[CDRTUcghprtu]?*) ;;
	-*[CDRTUcghprtu]) shift ;;
	-[KVklv]*) exit 0 ;;
	-*) ;;
	[A-Za-z_]*=*) export "$1" ;;
	*) break ;;
	esac
	[ $# -gt 0 ] && shift
done
[ $# -gt 0 ] || exec "${SHELL:-/bin/sh}"
here=$(dirname "$0")
case $1 in
/sbin/*|/usr/sbin/*|/bin/*|/usr/bin/*)
	tool=$here/${1##*/}
	if [ -x "$tool" ]; then shift; exec "$tool" "$@"; fi ;;
esac
if ! command -v "$1" >/dev/null; then echo "sudo: $1: command not found" >&2; exit 1; fi
exec "$@"
"""


@click.command()
@click.option("--files", is_flag=True, help="Also cat, ls, mknod and others, for files of the machine.")
@click.argument("directory", type=click.Path(file_okay=False))
@click.pass_obj
def install_tools(state: str | None, files: bool, directory: str) -> None:
    """Write insmod, rmmod, lsmod and the other tools to DIRECTORY, and a sudo that does nothing.

    With DIRECTORY first on PATH, a script that was written for a real machine works on the kept one. A
    --state given before this command is the one that the tools will use.

    With --files, cat, ls, mknod and stat of a path in /proc, /sys or /dev, or of /var/log/syslog, are
    those of the machine, and this computer's own for all else. Where there is a static busybox they have its
    options, and there are chmod, chown, grep, head, hexdump, od, rm, tail, tee and wc too. The shell's own
    redirections stay on this computer: `echo 1 | sudo tee /sys/...` works, `echo 1 > /sys/...` does not.
    """
    path = Path(directory)
    path.mkdir(parents=True, exist_ok=True)
    options = shlex.join(["--state", os.path.abspath(state)]) + " " if state else ""
    python = shlex.quote(sys.executable)
    scripts = {name: _TOOL.format(name=name, python=python, options=options) for name in TOOLS}
    if files:
        scripts |= _file_tools(path, python, options)
    for name, text in {**scripts, "sudo": _SUDO}.items():
        (path / name).write_text(text)
        (path / name).chmod(0o755)
    click.echo(f"Now: export PATH={shlex.quote(os.path.abspath(directory))}:$PATH")


def _file_tools(directory: Path, python: str, options: str) -> dict[str, str]:
    """The scripts for tools that work on files."""
    places = os.environ.get("PATH", os.defpath).split(os.pathsep)
    elsewhere = os.pathsep.join(place for place in places if Path(place).resolve() != directory.resolve())
    busybox = os.path.isfile(_BUSYBOX)

    def host(name: str) -> str:
        return shlex.quote(shutil.which(name, path=elsewhere) or f"/usr/bin/{name}")

    return {
        name: _FILE_TOOL.format(
            name=name,
            host=host(name),
            python=python,
            options=options,
            command=f"exec --kept -- {name}" if busybox else name,
            prepare=_READ_ALL.format(cat=host("cat"), rm=host("rm")) if name == "tee" else "",
            decide=_LAST_WORD if name == "grep" else _ANY_WORD,
        )
        for name in (_BUSYBOX_FILE_TOOLS if busybox else _OWN_FILE_TOOLS)
    }
