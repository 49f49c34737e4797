"""`arcsub notebook`: one offline Kaggle notebook that holds the whole solver.

The same commit and settings give the same bytes: cells are numbered, files are sorted, and no
time, path or version of this machine goes in.
"""

from __future__ import annotations

import hashlib
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Any

import nbformat
from nbformat.v4 import new_markdown_cell, new_notebook

from solver.command import engine_names
from solver.config import load_config
from solver.deadline import parse_duration
from solver.grid import DataError
from solver.jsonio import load_json
from solver.kit import MODEL, ROOT, files_digest, package_files, weights_fault
from solver.mounts import check_source
from solver.preflight import needs_model
from submission.notebook_cells import (
    CELLS,
    code_cell,
    file_cell,
    model_cells,
    rest_cells,
    solver_cells,
)

TESTED = "requirements.lock"  # what the kit's own tests run with
MAX_BYTES = 1_000_000  # Kaggle has refused larger sources
INSIDE = "inside"  # in place of a model's source: it travels in the notebook
# Kaggle's names for the accelerators of the profiles; every other profile runs without one.
ACCELERATORS = dict.fromkeys(("nvarc", "poe", "marc"), "nvidiaL4")


@dataclass(frozen=True)
class Settings:
    """What a notebook is built with; the fields are the command's options.

    `wheels`: a Kaggle source, or empty where the image has all that is needed; `lock` is the file
    that names what is installed from it.
    `model`: a Kaggle source, `inside`, or empty where the profile's engines need none.
    """

    profile: str = "kaggle-cpu"
    engines: str = ""
    competition: str = "arc-prize-2026-arc-agi-2"
    budget: str = "10h"
    short_budget: str = "15m"
    seed: int = 0
    model: str = ""
    wheels: str = ""
    lock: str = str(ROOT / "offline_wheels" / "minimal" / "lock.txt")


def write_notebook(path: Path, settings: Settings, commit: str) -> int:
    """Build and write a notebook. Returns its size in bytes; raises `DataError`."""
    text = build(settings, commit)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    except OSError as error:
        raise DataError(f"{path}: cannot be written: {error.strerror}") from None
    return len(text.encode())


def build(settings: Settings, commit: str) -> str:
    """The notebook's text. Raises `DataError` for settings that cannot work, and for a notebook
    that Kaggle would refuse for its size."""
    _check(settings)
    lock = _lock(settings)
    cells = [
        *_first(settings, commit, lock),
        *solver_cells(),
        *_attachments(settings, lock),
        *rest_cells(),
    ]
    for number, cell in enumerate(cells):
        cell["id"] = f"cell-{number:03d}"
    notebook = new_notebook(cells=cells, metadata=_metadata(settings, commit, lock))
    nbformat.validate(notebook)
    # A source as one string, not one a line, takes a fifth less room.
    text: str = nbformat.writes(notebook, split_lines=False) + "\n"
    if len(text.encode()) >= MAX_BYTES:
        size = f"{len(text.encode()) / 1e6:.2f} MB, Kaggle takes less than {MAX_BYTES / 1e6:.0f}"
        model = " Attach the model as a dataset: --model datasets/OWNER/SLUG"
        raise DataError(f"the notebook has {size}.{model if settings.model == INSIDE else ''}")
    return text


def commit_of(root: Path = ROOT) -> str:
    """The commit that is checked out, `-edited` if the solver's files are not as it has them,
    `unknown` outside of a repository."""
    command = ["git", "-C", str(root)]
    try:
        asked = ["rev-parse", "HEAD"], ["status", "--porcelain", "--", "solver", "models"]
        head, status = (
            subprocess.run([*command, *words], capture_output=True, text=True, check=True).stdout
            for words in asked
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return head.strip() + ("-edited" if status.strip() else "")


def about_of(path: Path) -> dict[str, Any]:
    """What a built notebook says about itself: commit, profile, lock, budget, sources.

    Raises `DataError` for a file that is no notebook of ours.
    """
    value = load_json(path)
    try:
        about: dict[str, Any] = value["metadata"]["arcsub"]
        about["commit"], about["profile"], about["lock"], about["budget"], about["sources"]
    except (KeyError, TypeError):
        raise DataError(f"{path}: no notebook that `arcsub notebook` built") from None
    return about


def sources_of(path: Path) -> dict[str, str]:
    """The Kaggle sources that a built notebook needs: competition, wheels, model."""
    sources: dict[str, str] = about_of(path)["sources"]
    return sources


def _check(settings: Settings) -> None:
    stages = load_config(
        settings.profile, 1.0, engines=engine_names(settings.engines or None)
    ).stages
    for option in ("budget", "short_budget"):
        try:
            parse_duration(getattr(settings, option))
        except ValueError as error:
            raise DataError(f"--{option.replace('_', '-')}: {error}") from None
    check_source(f"competitions/{settings.competition}")
    for source in (settings.wheels, settings.model):
        if source not in ("", INSIDE):
            check_source(source)
    wanting = [stage.engine for stage in stages if needs_model(stage.engine)]
    if wanting and not settings.model:
        raise DataError(f"engine {wanting[0]} needs a model: add --model")


def _lock(settings: Settings) -> str:
    """What the notebook installs; empty if it installs nothing."""
    return _text(Path(settings.lock)) if settings.wheels else ""


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read: {error}") from None


# --- cells ----------------------------------------------------------------------------


def _first(settings: Settings, commit: str, lock: str) -> list[Any]:
    """What the notebook is, and the cell that cannot be left out."""
    text = Template((CELLS / "intro.md").read_text("utf-8")).substitute(
        profile=settings.profile,
        commit=commit,
        lock=f"`{_sha256(lock)}`" if lock else "none: the image has all it needs",
        tested=_sha256(_text(ROOT / TESTED)),
        accelerator=ACCELERATORS.get(settings.profile, "none"),
        budget=settings.budget,
        short_budget=settings.short_budget,
    )
    values = {
        "COMPETITION": settings.competition,
        "PROFILE": settings.profile,
        "ENGINES": settings.engines,
        "BUDGET": settings.budget,
        "SHORT_BUDGET": settings.short_budget,
        "SEED": settings.seed,
        "WHEELS": settings.wheels,
        "MODEL": "" if settings.model == INSIDE else settings.model,
        "DIGEST": files_digest(),
        "FOLDERS": _folders(settings),
    }
    source = (CELLS / "first.py").read_text("utf-8")
    for name, value in values.items():
        source = _assign(source, name, value)
    return [new_markdown_cell(text.strip()), code_cell("template", source)]


def _assign(source: str, name: str, value: object) -> str:
    """The source with another value for a constant."""
    shown = f'"{value}"' if isinstance(value, str) else repr(value).replace("'", '"')
    pattern = rf"^({name}(?:: [^=\n]+)? = )(?:\"\"|\(\)|\S+)"
    source, found = re.subn(pattern, lambda match: match[1] + shown, source, flags=re.MULTILINE)
    assert found == 1, name
    return source


def _folders(settings: Settings) -> tuple[str, ...]:
    folders = {str(Path(name).parent) for name, _ in package_files()}
    return tuple(sorted(folders | ({"models/pair"} if settings.model == INSIDE else set())))


def _attachments(settings: Settings, lock: str) -> list[Any]:
    cells = []
    if settings.wheels:
        cells += [new_markdown_cell("## What is installed"), file_cell("wheels.lock", lock)]
    if settings.model == INSIDE:
        if fault := weights_fault():
            raise DataError(f"--model {INSIDE}: {fault}")
        cells += [new_markdown_cell("## The model's weights"), *model_cells(MODEL)]
    return cells


def _metadata(settings: Settings, commit: str, lock: str) -> dict[str, Any]:
    accelerator = ACCELERATORS.get(settings.profile, "none")
    sources = {
        "competition": f"competitions/{settings.competition}",
        "wheels": settings.wheels,
        "model": settings.model,
    }
    return {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python", "file_extension": ".py", "mimetype": "text/x-python"},
        "kaggle": {
            "accelerator": accelerator,
            "dataSources": [],
            "isGpuEnabled": accelerator != "none",
            "isInternetEnabled": False,
            "language": "python",
            "sourceType": "notebook",
        },
        "arcsub": {
            "commit": commit,
            "profile": settings.profile,
            "engines": settings.engines,
            "lock": _sha256(lock) if lock else "",
            "tested": _sha256(_text(ROOT / TESTED)),
            "budget": settings.budget,
            "sources": {k: v for k, v in sources.items() if v not in ("", INSIDE)},
        },
    }


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
