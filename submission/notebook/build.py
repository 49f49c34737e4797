"""`arcsub notebook`: build one offline Kaggle notebook that contains the solver.

The same commit and settings give the same bytes: cells are numbered, files are sorted, and no time,
path or version of this machine is written.
"""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
from dataclasses import asdict, dataclass
from pathlib import Path
from string import Template
from typing import Any

import nbformat
from nbformat.v4 import new_markdown_cell, new_notebook

from solver.data.jsonio import load_json
from solver.grid import DataError
from solver.kit import MODEL, ROOT, files_digest, folder_print, weights_fault
from submission.kaggle.editions import edition_facts, machines_of
from submission.notebook.cells import (
    PARTS,
    code_cell,
    file_cell,
    model_cells,
    rest_cells,
    solver_cells,
)
from submission.notebook.files import Files, profile_name, run_files
from submission.notebook.settings import INSIDE, KIT_MODEL, Settings, settle
from submission.owned import check_output, reads, write_output

TESTED = "requirements.lock"  # versions that the kit's own tests run with
MAX_BYTES = 1_000_000  # Kaggle has refused larger sources
ID_DIGITS = 16


def write_notebook(path: Path, settings: Settings, commit: str) -> int:
    """Build and write a notebook. Returns the size in bytes.

    Raises `DataError` as `build` does, and for a file that cannot be written or replaced.
    """
    text = build(settings, commit)
    check_output(path, "notebook", reads(about_of))
    write_output(path, text)
    return len(text.encode())


def build(settings: Settings, commit: str) -> str:
    """The notebook's text.

    Raises `DataError` for settings that cannot work, and for a notebook that is too large for
    Kaggle.
    """
    text = _text_of(_content(settings), commit)
    if len(text.encode()) >= MAX_BYTES:
        size = f"{len(text.encode()) / 1e6:.2f} MB, Kaggle takes less than {MAX_BYTES / 1e6:.0f}"
        model = " Attach the model as a dataset: --model datasets/OWNER/SLUG"
        raise DataError(f"the notebook has {size}.{model if settings.model == INSIDE else ''}")
    return text


@dataclass(frozen=True)
class _Content:
    """The contents of a notebook.

    settings: settings with no choice left open.
    engines: names of the engines.
    files: the solver's files.
    lock: text of the lock of the wheels; empty if the notebook installs nothing.
    """

    settings: Settings
    engines: tuple[str, ...]
    files: Files
    lock: str

    def identity(self, commit: str) -> dict[str, Any]:
        """All that the notebook was built from: commit, settings, and hashes of its parts."""
        settings = self.settings
        of_the_kit = settings.model in (INSIDE, KIT_MODEL)
        profile = profile_name(settings.profile)
        return {
            "commit": commit,
            "settings": {
                **asdict(settings),
                **{"profile": profile, "competition": settings.edition.slug, "lock": ""},
            },
            "edition": edition_facts(settings.edition),
            "kit": files_digest(self.files),
            "model": folder_print(MODEL) if of_the_kit else settings.model,
            "lock": _sha256(self.lock) if self.lock else "",
            "tested": _sha256(_text(ROOT / TESTED)),
        }


def id_of(identity: dict[str, Any]) -> str:
    """The notebook's id: the beginning of a hash of its identity."""
    return _sha256(json.dumps(identity, sort_keys=True))[:ID_DIGITS]


def _content(settings: Settings) -> _Content:
    chosen, engines = settle(settings)
    lock = _text(Path(chosen.lock)) if chosen.wheels else ""
    return _Content(chosen, engines, run_files(chosen.profile, engines), lock)


def _text_of(content: _Content, commit: str) -> str:
    cells = [
        *_first(content, commit),
        *solver_cells(content.files),
        *_attachments(content),
        *rest_cells(),
    ]
    for number, cell in enumerate(cells):
        cell["id"] = f"cell-{number:03d}"
    notebook = new_notebook(cells=cells, metadata=_metadata(content, commit))
    nbformat.validate(notebook)
    # `nbformat.write` adds blanks and splits texts into lines, for a quarter more bytes.
    return json.dumps(notebook, ensure_ascii=False, sort_keys=True, separators=(",", ":")) + "\n"


def commit_of(root: Path = ROOT) -> str:
    """The commit that is checked out; `unknown` outside of a repository.

    The name ends in `-edited` if the files of `solver` or `models` differ from the commit.
    """
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
    """The facts that a built notebook records: id, commit, profile, engines, lock, budget, sources.

    Raises `DataError` for a file that is not a notebook of the kit.
    """
    value = load_json(path)
    try:
        about: dict[str, Any] = value["metadata"]["arcsub"]
        texts = [about[name] for name in ("id", "commit", "profile", "lock", "budget")]
        texts += [*about["engines"], *dict(about["sources"]).values()]
        if not all(isinstance(text, str) for text in texts):
            raise TypeError
    except (KeyError, TypeError, ValueError):
        raise DataError(f"{path}: no notebook that `arcsub notebook` built") from None
    return about


def sources_of(path: Path) -> dict[str, str]:
    """The Kaggle sources that a built notebook needs, by kind: competition, wheels, model.

    Raises `DataError` for a file that is not a notebook of the kit.
    """
    sources: dict[str, str] = about_of(path)["sources"]
    return sources


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read: {error}") from None


# --- cells ----------------------------------------------------------------------------


def _first(content: _Content, commit: str) -> list[Any]:
    """The introduction, and the first code cell, which cannot be left out."""
    settings, lock, identity = content.settings, content.lock, content.identity(commit)
    text = Template((PARTS / "intro.md").read_text("utf-8")).substitute(
        competition=settings.edition.slug,
        profile=profile_name(settings.profile),
        engines=", ".join(content.engines),
        commit=commit,
        id=id_of(identity),
        lock=f"`{_sha256(lock)}`" if lock else "none, the image must do",
        tested=identity["tested"],
        machine=settings.machine,
        budget=settings.budget,
        short_budget=settings.short_budget,
    )
    values = {
        "ID": id_of(identity),
        "COMPETITION": settings.edition.slug,
        "CHALLENGES": settings.edition.challenges,
        "SUBMISSION": settings.edition.submission,
        "ATTEMPTS": settings.edition.attempts,
        "PROFILE": profile_name(settings.profile),
        "ENGINES": settings.engines,
        "BUDGET": settings.budget,
        "SHORT_BUDGET": settings.short_budget,
        "SEED": settings.seed,
        "WHEELS": settings.wheels,
        "MODEL": "" if settings.model == INSIDE else settings.model,
        "DIGEST": identity["kit"],
        "FOLDERS": _folders(content),
    }
    source = (PARTS / "first.py").read_text("utf-8")
    for name, value in values.items():
        source = _assign(source, name, value)
    return [new_markdown_cell(text.strip()), code_cell("template", source)]


def _assign(source: str, name: str, value: object) -> str:
    """The source text with another value for the constant `name`."""
    shown = f'"{value}"' if isinstance(value, str) else repr(value).replace("'", '"')
    pattern = rf"^({name}(?:: [^=\n]+)? = )(?:\"\"|\(\)|\S+)"
    source, found = re.subn(pattern, lambda match: match[1] + shown, source, flags=re.MULTILINE)
    assert found == 1, name
    return source


def _folders(content: _Content) -> tuple[str, ...]:
    folders = {str(Path(name).parent) for name, _ in content.files}
    return tuple(sorted(folders | ({"models/pair"} if content.settings.model == INSIDE else set())))


def _attachments(content: _Content) -> list[Any]:
    cells = []
    if content.settings.wheels:
        cells += [new_markdown_cell("## What is installed"), file_cell("wheels.lock", content.lock)]
    if content.settings.model == INSIDE:
        if fault := weights_fault():
            raise DataError(f"--model {INSIDE}: {fault}")
        cells += [new_markdown_cell("## The model's weights"), *model_cells(MODEL)]
    return cells


def _metadata(content: _Content, commit: str) -> dict[str, Any]:
    settings, identity = content.settings, content.identity(commit)
    sources = {
        "competition": f"competitions/{settings.edition.slug}",
        "wheels": settings.wheels,
        "model": settings.model,
    }
    return {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python", "file_extension": ".py", "mimetype": "text/x-python"},
        "kaggle": {
            "accelerator": machines_of(settings.edition)[settings.machine].accelerator,
            "dataSources": [],
            "isGpuEnabled": settings.machine != "cpu",
            "isInternetEnabled": False,
            "language": "python",
            "sourceType": "notebook",
        },
        "arcsub": {
            "id": id_of(identity),
            "identity": identity,
            "edition": identity["edition"],
            "commit": commit,
            "profile": profile_name(settings.profile),
            "engines": list(content.engines),
            "lock": identity["lock"],
            "tested": identity["tested"],
            "budget": settings.budget,
            "sources": {k: v for k, v in sources.items() if v not in ("", INSIDE)},
        },
    }


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
