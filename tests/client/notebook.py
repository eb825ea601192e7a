# database: cdnow
"""The notebooks in examples/ run from top to bottom. With PG_LTV_KEEP_NOTEBOOK the one that ran is written there."""

import os
import pathlib

import nbformat
from nbclient import NotebookClient
from tools import ROOT

for path in sorted((pathlib.Path(ROOT) / "examples").glob("*.ipynb")):
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(notebook, timeout=300, kernel_name="python3").execute()
    pictures = [o for cell in notebook.cells for o in cell.get("outputs", []) if "image/png" in o.get("data", {})]
    assert len(pictures) >= 2, "a notebook without pictures"
    if kept := os.environ.get("PG_LTV_KEEP_NOTEBOOK"):
        for cell in notebook.cells:
            cell.metadata.pop("execution", None)
            for output in cell.get("outputs", []):
                output.get("data", {}).pop("text/html", None)
        nbformat.write(notebook, pathlib.Path(kept) / path.name)
    print(f"ok {path.name}, {len(pictures)} pictures")
