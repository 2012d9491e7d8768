"""devices, echo, mknod, stat on the kept machine."""

from kmod_emu import samples


def test_a_device_from_the_command_line(cli):
    assert cli("insmod", str(samples.path("echo"))).exit_code == 0
    listing = cli("devices").stdout.splitlines()
    assert listing[:2] == ["major  minors    name", "  246  0-255     echo"]
    assert any(line.split()[0] == "read" and "echo_read+0x0/" in line for line in listing[2:])
    assert cli("mknod", "/dev/echo", "c", "246", "0").exit_code == 0
    assert cli("echo", "hello", "there", "/dev/echo").exit_code == 0
    assert cli("cat", "/dev/echo").stdout == "hello there\n"
    assert "Device type: 246,0" in cli("stat", "/dev/echo").stdout
    assert cli("rmmod", "echo").exit_code == 0
    assert len(cli("devices").stdout.splitlines()) == 1


def test_refusals(cli):
    assert cli("echo", "x", "/proc/nothing").exit_code == 1
    assert cli("mknod", "/dev/null", "c", "1", "3").exit_code == 1
    assert cli("mknod", "/dev/x", "c", "1").exit_code == 2
    assert cli("stat", "/nothing").exit_code == 1


def test_listing(cli):
    assert cli("insmod", str(samples.path("hello"))).exit_code == 0
    assert cli("mknod", "-m", "1640", "/tmp/x", "c", "5", "1").exit_code == 0
    assert cli("ls", "/tmp", "/proc/version").stdout == "/proc/version\n\n/tmp:\nx\n"
    mode, links, uid, gid, *rest = cli("ls", "-l", "/tmp").stdout.splitlines()[1].split()
    assert (mode, links, uid, gid, rest[0], rest[1], rest[-1]) == (
        "crw-r----T",
        "1",
        "0",
        "0",
        "5,",
        "1",
        "x",
    )
    assert cli("ls", "-ld", "/tmp").stdout.startswith("drwxrwxrwt 2 0 0 0 ")
    assert cli("ls", "-l", "/proc/self").stdout.split()[-2] == "->"
    assert cli("ls", "/sys/module/hello/sections").stdout == "__mcount_loc\n"  # others have a dot
    assert ".init.text" in cli("ls", "-a", "/sys/module/hello/sections").stdout.split()
    result = cli("ls", "/nothing", "/tmp/x")
    assert (result.exit_code, result.stdout) == (2, "/tmp/x\n")
    assert result.stderr == "ls: cannot access '/nothing': No such file or directory\n"
