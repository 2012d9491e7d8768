"""C prototypes of exports, and C as the debugger reads it."""

from contextlib import suppress

from kmod_emu.abi import prototypes
from kmod_emu.debug.c import parser
from kmod_emu.debug.c.values import DebugError

EXPECTED = (ValueError, DebugError)


def seeds():
    return [
        b"ssize_t vfs_read(struct file *file, char __user *buf, size_t count, loff_t *pos)",
        b"int (*f(int (*g)(void *, ...), char *argv[]))(void)",
        b"((struct file *)$rdi)->f_op->read[1].x + sizeof(int) * -3 / 'a' ? b : &c",
        b"int snprintf(char *buf, size_t size, const char *fmt, ...);",
    ]


def start():
    def run(data):
        text = data.decode("latin-1")
        with suppress(ValueError):
            prototype = prototypes.parse.__wrapped__(text)
            prototype.argument_format()
            prototypes.parse.__wrapped__(prototype.text)
        parser.parse_prototype(text, _named)
        with suppress(DebugError):
            parser.parse_type(text, _named)
        parser.parse(text, _named)

    return run


def _named(name):
    return None
