"""The build backend: setuptools, in an environment in which our commands can be imported.

Man pages and completions are made from them, so a wheel needs what the program needs.
"""

import tomllib
from pathlib import Path
from typing import Any

from setuptools import build_meta
from setuptools.build_meta import *  # noqa: F403 - the hooks


def get_requires_for_build_wheel(config_settings: dict[str, Any] | None = None) -> list[str]:
    """As the program itself."""
    project = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text())["project"]
    own: list[str] = project["dependencies"]
    return [*build_meta.get_requires_for_build_wheel(config_settings), *own]
