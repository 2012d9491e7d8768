"""Flags of open files (include/uapi/asm-generic/fcntl.h)."""

O_RDONLY, O_WRONLY, O_RDWR = 0, 1, 2
O_ACCMODE = 3
O_TRUNC = 0o1000
O_NONBLOCK = 0o4000
