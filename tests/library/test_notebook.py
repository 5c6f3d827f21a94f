"""The notebook: stored without outputs, and runs to its end."""

import nbformat
import pytest
from conftest import ROOT

PATH = ROOT / "examples/two_networks.ipynb"


def test_the_notebook_is_stored_without_outputs():
    notebook = nbformat.read(PATH, as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            assert not cell.outputs and cell.execution_count is None


def test_the_notebook_runs(monkeypatch, tmp_path):
    client = pytest.importorskip("nbclient")
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "src"))
    notebook = nbformat.read(PATH, as_version=4)
    first = next(cell for cell in notebook.cells if cell.cell_type == "code")
    assert "ITERATIONS = 1000" in first.source
    first.source = first.source.replace("ITERATIONS = 1000", "ITERATIONS = 20")
    client.NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(tmp_path)}}).execute()
    text = "\n".join(str(output) for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs)
    assert "alternative: sign accuracy" in text
    assert "n_stable_fixed_points" in text
