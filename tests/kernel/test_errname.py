import errno

import pytest

from kmod_emu.kernel.errname import errname


def test_names_agree_with_the_c_library_where_both_have_one():
    for name in (
        "EPERM",
        "ENOENT",
        "ENOEXEC",
        "EAGAIN",
        "EBUSY",
        "EEXIST",
        "ENODEV",
        "EINVAL",
        "ENOSPC",
        "ERANGE",
    ):
        assert errname(getattr(errno, name)) == name


@pytest.mark.parametrize(
    ("number", "name"),
    [
        (1, "EPERM"),
        (34, "ERANGE"),
        (35, "EDEADLK"),
        (40, "ELOOP"),
        (42, "ENOMSG"),
        (57, "EBADSLT"),
        (59, "EBFONT"),
        (85, "ERESTART"),
        (95, "EOPNOTSUPP"),
        (110, "ETIMEDOUT"),
        (129, "EKEYREJECTED"),
        (133, "EHWPOISON"),
        (512, "ERESTARTSYS"),
        (517, "EPROBE_DEFER"),
        (519, "ENOPARAM"),
        (521, "EBADHANDLE"),
        (524, "ENOTSUPP"),
        (530, "ERECALLCONFLICT"),
    ],
)
def test_numbers_of_x86(number, name):
    assert errname(number) == name
    assert errname(-number) == "-" + name


@pytest.mark.parametrize("number", [0, 41, 58, 134, 511, 520, 531, 4095])
def test_numbers_without_a_name(number):
    assert errname(number) is None
    assert errname(-number) is None
