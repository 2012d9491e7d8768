"""The tools are run as a user would."""

from tests.cli.conftest import cli  # noqa: F401
