"""The errors that callers of the library see."""

from kmod_emu.uapi import errno as _errno


class KernelError(OSError):
    """A system call or a load step refused, with the errno that Linux gives for it.

    Args:
        errno: The positive error number.
        explanation: One sentence for a person: what was wrong and, where known, what to do.

    >>> import errno
    >>> error = KernelError(errno.ENOEXEC, "the file is not an ELF object")
    >>> error.errno, error.strerror, error.explanation
    (8, 'Exec format error', 'the file is not an ELF object')
    """

    errno: int
    explanation: str

    def __init__(self, errno: int, explanation: str = "") -> None:
        super().__init__(errno, _errno.strerror(errno))
        self.explanation = explanation


class Killed(KernelError):
    """The calling task died inside the kernel: it never got an answer (`errno` is EINTR).

    Args:
        signal: What the kernel killed it with, 9 or 11.
        explanation: The fault in a sentence.

    Attributes:
        exit_status: What a command ends with that this happens to.
    """

    exit_status = 3

    def __init__(self, signal: int, explanation: str = "") -> None:
        super().__init__(_errno.EINTR, explanation)
        self.signal = signal


class Unimplemented(Killed):
    """The task touched an export that this base kernel does not implement.

    Args:
        name: The export.
        explanation: Who used it, and how.
        recipe: The lines of Python that supply it.
    """

    exit_status = 4

    def __init__(self, name: str, explanation: str, recipe: str) -> None:
        super().__init__(9, explanation)
        self.name = name
        self.recipe = recipe


class InternalError(Killed):
    """Python code behind the machine failed; the task that it worked for is ended, and the machine goes on.

    Attributes:
        __cause__: The exception.
    """

    exit_status = 70

    def __init__(self, explanation: str) -> None:
        super().__init__(9, explanation)


class SleepsForever(KernelError):
    """The calling task waits for something that can no longer happen (`errno` is EDEADLK).

    Args:
        comm: Its name.
        explanation: Given where it does wake now and then, but never comes to an end.
    """

    def __init__(self, comm: str, explanation: str = "") -> None:
        self.wakes = bool(explanation)
        explanation = explanation or f"{comm} sleeps, no other task is ready and no timer is armed"
        super().__init__(_errno.EDEADLK, explanation)
