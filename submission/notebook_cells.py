"""The notebook's cells: the solver's files, a model's files, and the calls at the end."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from nbformat.v4 import new_code_cell, new_markdown_cell

KIT = "/kaggle/temp/kit"  # not the working folder: what lies there is the notebook's output
WIDTH = 100  # of a line of base85
CELLS = Path(__file__).parent / "cells"
_TITLES = {  # of its parts, in this order; others follow under their names
    "solver": "The solver: the run",
    "solver/synth": "The program synthesizer",
    "solver/lm": "The model",
    "solver/profiles": "Profiles",
}


def solver_cells(files_of: Iterable[tuple[str, Path]]) -> list[Any]:
    """Files of the package, each in a cell, under a heading for each of its parts."""
    files: dict[str, list[Any]] = {part: [] for part in _TITLES}
    for name, file in files_of:
        cell = file_cell(name, file.read_text("utf-8"))
        files.setdefault(str(Path(name).parent), []).append(cell)
    cells = []
    for part, its_cells in files.items():
        if its_cells:
            cells += [new_markdown_cell(f"## {_TITLES.get(part, part)}"), *its_cells]
    return cells


def model_cells(folder: Path) -> list[Any]:
    """Cells that write a model's files where the engines look for them."""
    cells = []
    for file in sorted(folder.iterdir()):
        name = f"models/pair/{file.name}"
        if file.suffix == ".json":
            cells.append(file_cell(name, file.read_text("utf-8")))
        elif file.suffix == ".safetensors":
            raw = base64.b85encode(file.read_bytes()).decode()
            lines = "\n".join(raw[i : i + WIDTH] for i in range(0, len(raw), WIDTH))
            code = f'import base64\n\nWEIGHTS = """\n{lines}\n"""\n'
            decoded = 'base64.b85decode("".join(WEIGHTS.split()))'
            cells.append(
                _folded(code_cell("files", f'{code}(KIT / "{name}").write_bytes({decoded});'))
            )
    return cells


def rest_cells() -> list[Any]:
    """Install, check, run, look: a call each."""
    cells = []
    for part in (CELLS / "rest.py").read_text("utf-8").split("# %% ")[1:]:
        head, source = part.split("\n", 1)
        stage, text = head.split(": ", 1)
        cells += [new_markdown_cell(f"## {text}"), code_cell(stage, source)]
    return cells


def file_cell(name: str, text: str) -> Any:
    """A cell that writes a file of the kit, folded away where the viewer can do that."""
    return _folded(code_cell("files", f"%%writefile {KIT}/{name}\n{text}"))


def _folded(cell: Any) -> Any:
    cell["metadata"] |= {"_kg_hide-input": True, "jupyter": {"source_hidden": True}}
    return cell


def code_cell(stage: str, source: str) -> Any:
    """A code cell; `stage` is what a rehearsal books its time under."""
    return new_code_cell(source.rstrip("\n"), metadata={"arcsub": {"stage": stage}})
