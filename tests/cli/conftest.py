"""Running commands as a user would, in a directory and with a kept machine of their own."""

import pytest
from click.testing import CliRunner, Result

from kmod_emu.cli.main import main


@pytest.fixture
def cli(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KMOD_EMU_STATE", str(tmp_path / "machine.kmod"))

    def run(*words: str, text: str | None = None) -> Result:
        # color: without it click drops escape sequences, and no test could see one get through
        result = CliRunner().invoke(main, [str(word) for word in words], input=text, color=True)
        assert "Traceback" not in result.output + result.stderr
        return result

    return run
