"""How much the checkers do."""

from enum import Enum


class Level(Enum):
    """How much is checked."""

    OFF = "off"
    DEFAULT = "default"  # what costs next to nothing
    ALL = "all"
