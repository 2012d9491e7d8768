"""kmod-emu exec: a program's output and status are the command's; the host is hidden."""

import subprocess
import sys

import pytest

from tests.user.conftest import needs_busybox, needs_gcc


def exec_(*arguments: str, stdin: str = "", cwd=None) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "kmod_emu.cli.main", "exec", *arguments]
    return subprocess.run(command, input=stdin, capture_output=True, text=True, cwd=cwd, timeout=120)


@needs_busybox
def test_streams_and_status_are_the_program_s():
    result = exec_(
        "--insmod", "hello", "--", "sh", "-c", "cat; lsmod | wc -l; echo bad >&2; exit 5", stdin="in\n"
    )
    assert (result.returncode, result.stdout, result.stderr) == (5, "in\n2\n", "bad\n")


@needs_busybox
def test_the_host_is_hidden_but_for_what_is_bound(tmp_path):
    (tmp_path / "shown").mkdir()
    (tmp_path / "shown" / "file").write_text("host\n")
    (tmp_path / "secret").write_text("secret\n")
    (tmp_path / "shown" / "out").symlink_to(tmp_path / "secret")
    (tmp_path / "shown" / "up").symlink_to("../secret")
    script = (
        f"cat /mnt/file /mnt/out /mnt/up /mnt/../secret {tmp_path}/secret; echo new > /mnt/new; "
        "rm /mnt/file; echo x > /ro/new; ls /ro; ls /home"
    )
    binds = ["--bind", f"{tmp_path / 'shown'}:/mnt", "--bind", f"{tmp_path / 'shown'}:/ro:ro"]
    result = exec_(*binds, "--", "sh", "-c", script)
    assert "secret\n" not in result.stdout.replace("secret: ", "")
    assert result.stdout == "host\nnew\nout\nup\n"
    assert "Read-only file system" in result.stderr
    assert (tmp_path / "shown" / "new").read_text() == "new\n"
    assert not (tmp_path / "shown" / "file").exists()


@needs_gcc
def test_a_program_of_the_host_s_is_seen_as_itself(tmp_path, compile_c):
    program = tmp_path / "program"
    program.write_bytes(compile_c("int main(int c, char **v) { return c; }", "-static"))
    program.chmod(0o755)
    assert exec_("./program", "a", "b", cwd=tmp_path).returncode == 3


@needs_gcc
def test_libraries_come_from_a_sysroot(tmp_path, compile_c):
    source = r"#include <stdio.h>" + "\n" + r'int main(void) { printf("%.2f\n", 1.5); return 0; }'
    (tmp_path / "program").write_bytes(compile_c(source))
    (tmp_path / "program").chmod(0o755)
    result = exec_("--sysroot", "/", str(tmp_path / "program"))
    assert (result.stdout, result.returncode) == ("1.50\n", 0), result.stderr


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (("--busybox", "/nonexistent", "nosuchprogram"), 1, "No such file"),
        (("--bind", "/nosuch:/x", "x"), 2, "there is no /nosuch"),
        (("--bind", "nonsense", "x"), 2, "HOST:GUEST"),
        (("--env", "nonsense", "x"), 2, "NAME=VALUE"),
        (("--release", "1.0", "x"), 2, "1.0"),
        ((__file__,), 126, "Exec format error"),
        (("nosuchprogram",), 127, "No such file"),
        ((), 2, "PROGRAM"),
    ],
)
def test_bad_input_is_one_sentence(arguments, status, message):
    result = exec_(*arguments)
    assert result.returncode == status
    assert message in result.stderr
    assert "Traceback" not in result.stderr
