"""What is wrong with a kernel image."""

from __future__ import annotations

NO_SYMBOLS = "a kernel image without symbols (kallsyms): its functions cannot be found without its System.map"


class BadImage(ValueError):
    """Not a kernel image, damaged, or not of this architecture; the text is a sentence."""


class BootFailed(RuntimeError):
    """A kernel did not come to the end of its boot; the text is a sentence.

    Attributes:
        dmesg: What it has said, an oops among it.
    """

    def __init__(self, sentence: str, dmesg: tuple[str, ...] = ()) -> None:
        super().__init__(sentence)
        self.dmesg = dmesg
