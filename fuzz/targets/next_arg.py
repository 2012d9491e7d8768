"""Splitting a parameter string, and the queries of dynamic debug in it."""

from kmod_emu import KernelError
from kmod_emu.module.ddebug_query import parse_query, split_queries
from kmod_emu.module.next_arg import arguments

EXPECTED = (KernelError,)


def seeds():
    return [
        b'n=1 who="a b" flag',
        b'"quoted=value x" -- y',
        b"file drivers/a.c line 1-9 module m func f +pmfl",
    ]


def start():
    def run(data):
        for argument in arguments(data):
            assert data[argument.position :].startswith(argument.value or b"")
        for query in split_queries(data.decode("utf-8", "surrogateescape")):
            parse_query(query, "module", lambda *args: None)

    return run
