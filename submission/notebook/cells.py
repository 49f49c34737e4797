"""The notebook's cells: the solver's files, a model's files, and the calls at the end."""

from __future__ import annotations

import base64
import io
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from nbformat.v4 import new_code_cell, new_markdown_cell

KIT = "/kaggle/temp/kit"  # not the working folder: files there are the notebook's output
WIDTH = 100  # characters of a line of base85
PARTS = Path(__file__).parent / "parts"
_TITLES = {  # of the solver's parts, in this order; other parts follow under their names
    "solver": "The solver: what all its parts use",
    "solver/data": "Tasks, journal and submission",
    "solver/answers": "From candidates to two attempts",
    "solver/schedule": "The allocation of time",
    "solver/runtime": "The run",
    "solver/notebook": "The functions that this notebook's cells call",
    "solver/synth": "The program synthesizer",
    "solver/lm": "The model",
    "solver/sandbox": "The sandbox",
    "solver/profiles": "Profiles",
}
# Kaggle limits a notebook's size. These parts are two thirds of the source, packed a sixth.
_PACKED = ("solver/synth", "solver/lm")


def solver_cells(files_of: Iterable[tuple[str, Path]]) -> list[Any]:
    """Cells for files of the package: a heading for each part, and a cell for each file.

    The files of the synthesizer share one packed cell, and so do those of the models.
    """
    files: dict[str, list[tuple[str, Path]]] = {part: [] for part in _TITLES}
    for name, file in files_of:
        files.setdefault("/".join(Path(name).parent.parts[:2]), []).append((name, file))
    cells = []
    for part, some in files.items():
        if some:
            written = [file_cell(name, file.read_text("utf-8")) for name, file in some]
            its_cells = [_packed_cell(some)] if part in _PACKED else written
            cells += [new_markdown_cell(f"## {_TITLES.get(part, part)}"), *its_cells]
    return cells


def _packed_cell(files: Iterable[tuple[str, Path]]) -> Any:
    """A cell that unpacks files of the kit; the same files give the same cell."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, file in files:
            archive.writestr(zipfile.ZipInfo(name), file.read_bytes(), zipfile.ZIP_DEFLATED)
    code = "import base64, io, zipfile\n\n" + _spelled("SOURCES", packed.getvalue())
    unpack = f'zipfile.ZipFile(io.BytesIO({_decoded("SOURCES")})).extractall("{KIT}")\n'
    return _folded(code_cell("files", code + unpack))


def _spelled(name: str, raw: bytes) -> str:
    """Code that assigns bytes to a name, as lines of base85 for the code of `_decoded`."""
    text = base64.b85encode(raw).decode()
    lines = "\n".join(text[i : i + WIDTH] for i in range(0, len(text), WIDTH))
    return f'{name} = """\n{lines}\n"""\n'


def _decoded(name: str) -> str:
    return f'base64.b85decode("".join({name}.split()))'


def model_cells(folder: Path) -> list[Any]:
    """Cells that write a model's files to the folder where engines look for the model."""
    cells = []
    for file in sorted(folder.iterdir()):
        name = f"models/pair/{file.name}"
        if file.suffix == ".json":
            cells.append(file_cell(name, file.read_text("utf-8")))
        elif file.suffix == ".safetensors":
            code = "import base64\n\n" + _spelled("WEIGHTS", file.read_bytes())
            write = f'(KIT / "{name}").write_bytes({_decoded("WEIGHTS")});'
            cells.append(_folded(code_cell("files", code + write)))
    return cells


def rest_cells() -> list[Any]:
    """The cells after the files, one call each: settings, installation, preflight, run, summary."""
    cells = []
    for part in (PARTS / "rest.py").read_text("utf-8").split("# %% ")[1:]:
        head, source = part.split("\n", 1)
        stage, text = head.split(": ", 1)
        cells += [new_markdown_cell(f"## {text}"), code_cell(stage, source)]
    return cells


def file_cell(name: str, text: str) -> Any:
    """A cell that writes a file of the kit; folded away if the viewer can fold cells."""
    return _folded(code_cell("files", f"%%writefile {KIT}/{name}\n{text}"))


def _folded(cell: Any) -> Any:
    cell["metadata"] |= {"_kg_hide-input": True, "jupyter": {"source_hidden": True}}
    return cell


def code_cell(stage: str, source: str) -> Any:
    """A code cell; a rehearsal books the cell's time under `stage`."""
    return new_code_cell(source.rstrip("\n"), metadata={"arcsub": {"stage": stage}})
