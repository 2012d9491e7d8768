"""What is wrong with a kernel image."""

from __future__ import annotations


class BadImage(ValueError):
    """Not a kernel image, damaged, or not of this architecture; the text is a sentence."""
