"""The shell scripts of the recordings, as the system calls that their commands make."""

from kmod_emu import Kernel, Process
from kmod_emu.uapi.stat import S_IFDIR, S_IFMT


def parameters(process: Process) -> str:
    """Each parameter's name, mode and value."""
    top, out = "/sys/module/h_params/parameters", ""
    for name in sorted(process.listdir(top)):
        path = f"{top}/{name}"
        out += f"{name} {process.stat(path).mode & 0o7777:o}\n{process.read_file(path).decode()}"
    return out


def hello(process: Process) -> str:
    """The directory of a module: all names, some files, sizes."""
    top = "/sys/module/h_hello"
    out = "".join(f"{name}\n" for name in sorted(_find(process, top, ".")))
    for name in ("coresize", "initsize", "initstate", "refcnt", "taint"):
        out += f"{name}={process.read_file(f'{top}/{name}').decode()}"
    out += "total 0\n"
    for name in sorted(process.listdir(f"{top}/sections")):
        if not name.startswith("."):
            status = process.stat(f"{top}/sections/{name}")
            assert status.mode & 0o7777 == 0o400
            out += f"-r--------    {status.nlink} root     0        {status.size:9d} Nov 21 03:10 {name}\n"
    out += "od: notes/*: No such file or directory\n"
    return out + process.read_file("/proc/modules").decode() + _kallsyms(process)


def _find(process: Process, directory: str, shown: str) -> list[str]:
    found = [shown]
    for name in process.listdir(directory):
        path = f"{directory}/{name}"
        if process.stat(path).mode & S_IFMT == S_IFDIR:
            found += _find(process, path, f"{shown}/{name}")
        else:
            found.append(f"{shown}/{name}")
    return found


def _kallsyms(process: Process, count: int | None = None) -> str:
    lines = process.read_file("/proc/kallsyms").decode().splitlines(keepends=True)
    return "".join([line for line in lines if "h_hello" in line][:count])


def seen(process: Process) -> str:
    """What an ordinary user sees of addresses."""
    files = ("/proc/modules", "/proc/sys/kernel/kptr_restrict")
    return "".join(process.read_file(path).decode() for path in files) + _kallsyms(process, 3)


def seen_by_root(process: Process) -> str:
    """What root sees of them."""
    return process.read_file("/proc/modules").decode() + _kallsyms(process, 3)


SCRIPTS = {  # by how the command begins
    "cd /sys/module/h_params/parameters; for f": parameters,
    "cd /sys/module/h_hello; find .": hello,
    "cat /proc/modules; cat /proc/sys/kernel/kptr_restrict": seen,
    "cat /proc/modules; grep h_hello /proc/kallsyms | head": seen_by_root,
}


def run(kernel: Kernel, command: str, uid: int) -> str:
    """The output of a recorded command."""
    script = next(script for start, script in SCRIPTS.items() if command.startswith(start))
    with kernel.process(uid=uid) as process:
        return script(process)
