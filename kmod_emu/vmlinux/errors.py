"""What is wrong with a kernel image."""

from __future__ import annotations


class BadImage(ValueError):
    """Not a kernel image, damaged, or not of this architecture; the text is a sentence."""


class BootFailed(RuntimeError):
    """A kernel did not come to the end of its boot; the text is a sentence."""
