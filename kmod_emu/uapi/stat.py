"""File types and permission bits (include/uapi/linux/stat.h), device numbers (include/linux/kdev_t.h)."""

S_IFMT, S_IFSOCK, S_IFLNK, S_IFREG = 0o170000, 0o140000, 0o120000, 0o100000
S_IFBLK, S_IFDIR, S_IFCHR, S_IFIFO = 0o060000, 0o040000, 0o020000, 0o010000
S_ISUID, S_ISGID, S_ISVTX = 0o4000, 0o2000, 0o1000
S_IALLUGO = 0o7777
S_IXUGO = 0o111

MINORBITS = 20
MINORMASK = (1 << MINORBITS) - 1


def is_type(mode: int, kind: int) -> bool:
    """Whether a mode is of a file of that type."""
    return mode & S_IFMT == kind


def mkdev(major: int, minor: int) -> int:
    """A device number as the kernel keeps it: `dev_t` of struct inode and struct cdev.

    >>> hex(mkdev(10, 255))
    '0xa000ff'
    """
    return major << MINORBITS | minor


def major(dev: int) -> int:
    """The driver's part of a kernel device number."""
    return dev >> MINORBITS


def minor(dev: int) -> int:
    """The device's part of a kernel device number."""
    return dev & MINORMASK


def new_decode_dev(dev: int) -> int:
    """A kernel device number from one that a program gave to mknod(2)."""
    return mkdev((dev & 0xFFF00) >> 8, (dev & 0xFF) | (dev >> 12 & 0xFFF00))


def new_encode_dev(dev: int) -> int:
    """A kernel device number as stat(2) shows it.

    >>> hex(new_encode_dev(mkdev(246, 300))), new_decode_dev(0x10F62C) == mkdev(246, 300)
    ('0x10f62c', True)
    """
    return (minor(dev) & 0xFF) | major(dev) << 8 | (minor(dev) & ~0xFF) << 12
