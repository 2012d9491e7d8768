"""The targets of `make fuzz` without atheris: seeds, what was once found, the same mutations each time."""

import random

import pytest

from fuzz.targets import NAMES, mistake_in, regressions, target

EXECUTIONS = 30


def mutated(source: random.Random, inputs: list[bytes]) -> bytes:
    """One of the inputs with a few bytes changed, cut or doubled."""
    data = bytearray(source.choice(inputs))
    for _ in range(source.randint(1, 4)):
        at = source.randrange(len(data) + 1)
        put = source.choice(
            (b"", *(source.randbytes(1) for _ in range(3)), b"\xff" * 8, bytes(data[:at][-8:]))
        )
        data[at : at + source.choice((0, 1, 1, 1, 8))] = put
    return bytes(data)


@pytest.mark.parametrize("name", NAMES)
def test_nothing_but_what_is_documented_is_raised(name):
    tried = target(name)
    run, inputs = tried.start(), [*tried.seeds(), *regressions(name)]
    source = random.Random(name)
    for data in [b"", *inputs, *(mutated(source, inputs) for _ in range(EXECUTIONS))]:
        try:
            run(data)
        except Exception as error:
            if mistake_in(error, tried.EXPECTED):
                error.add_note(f"input: {data!r}")
                raise
