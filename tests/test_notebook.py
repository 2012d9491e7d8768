"""The tutorial notebook shows what its cells really give."""

from pathlib import Path

import pytest

from tests.test_readme import MOVES

nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")
NOTEBOOK = Path(__file__).parent.parent / "docs" / "tutorial.ipynb"


def outputs(notebook):
    """(source, outputs) of each cell of code; plain text beside HTML has an address of Python's."""
    for cell in notebook.cells:
        if cell.cell_type == "code":
            shown = [output.get("data", output) for output in cell.outputs]
            texts = [data.get("text/html") or data.get("text/plain") or data for data in shown]
            yield cell.source, [MOVES.sub("0x...", str(text)) for text in texts]


def test_outputs_are_what_the_cells_give(tmp_path, monkeypatch):
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path))
    wanted = list(outputs(nbformat.read(NOTEBOOK, as_version=4)))
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    client = nbclient.NotebookClient(notebook, timeout=120, resources={"metadata": {"path": tmp_path}})
    client.execute()
    assert list(outputs(notebook)) == wanted
    assert "module_init() executed" in (tmp_path / "report.html").read_text()
