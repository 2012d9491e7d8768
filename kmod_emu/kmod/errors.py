"""How a tool fails: its own message on standard error, and a status."""

from __future__ import annotations


class ToolError(Exception):
    """A tool's message.

    Args:
        message: Lines for standard error, complete with the tool's prefix.
        status: Exit status.

    Attributes:
        reasons: What --explain prints behind the message, a sentence a line.
    """

    def __init__(self, message: str, status: int = 1) -> None:
        super().__init__(message)
        self.status = status
        self.reasons: list[str] = []
