"""kmod-emu install-tools: the module tools under their own names, for scripts that were written for Linux."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path

import click

from kmod_emu.cli.main import TOOLS

_TOOL = """\
#!/bin/sh
# {name} on the machine that kmod-emu keeps.
exec {python} -P -m kmod_emu.cli.main {options}{name} "$@"
"""

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
@click.argument("directory", type=click.Path(file_okay=False))
@click.pass_obj
def install_tools(state: str | None, directory: str) -> None:
    """Write insmod, rmmod, lsmod and the other tools to DIRECTORY, and a sudo that does nothing.

    With DIRECTORY first on PATH, a script that was written for a real machine works on the kept one. A
    --state given before this command is the one that the tools will use.
    """
    path = Path(directory)
    path.mkdir(parents=True, exist_ok=True)
    options = shlex.join(["--state", os.path.abspath(state)]) + " " if state else ""
    python = shlex.quote(sys.executable)
    scripts = {name: _TOOL.format(name=name, python=python, options=options) for name in TOOLS}
    for name, text in {**scripts, "sudo": _SUDO}.items():
        (path / name).write_text(text)
        (path / name).chmod(0o755)
    click.echo(f"Now: export PATH={shlex.quote(os.path.abspath(directory))}:$PATH")
