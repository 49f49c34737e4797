"""A /kaggle tree as on Kaggle: the competition's files and the attached sources."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from solver.grid import DataError, Task
from solver.notebook.mounts import KINDS
from submission.kaggle.editions import Edition, editions
from submission.owned import reason

# The places of sources below /kaggle/input.
LAYOUTS = {
    "new": "by their whole names: competitions/SLUG, datasets/OWNER/SLUG, ...",
    "old": "by their short names: SLUG, ...",
    "both": "by their whole and by their short names",
    "moved": "where no layout looks; they have to be searched for",
}


@dataclass(frozen=True)
class Attached:
    """A source by Kaggle's name, and the local folder that stands for the source.

    The competition has no folder, since the competition's files are made.
    """

    source: str
    folder: Path | None = None


def build_tree(
    kaggle: Path,
    tasks: Sequence[Task],
    attached: Sequence[Attached],
    layout: str,
    edition: Edition | None = None,
) -> None:
    """Make `input` and the empty `working` and `home` below `kaggle`, a folder that must be new.

    The competition's files are those of the edition; of the newest edition if none is given.
    Raises `DataError` for an unknown layout, and for a source that cannot be copied.
    """
    for name in ("input", "working", "home"):
        (kaggle / name).mkdir(parents=True)
    for one in attached:
        for place in _places(one.source, layout):
            target = kaggle / "input" / place
            if one.folder is None:
                _competition(target, tasks, edition or editions()[-1])
                continue
            try:
                shutil.copytree(one.folder, target)
            except OSError as error:
                raise DataError(f"{one.folder}: cannot be copied: {reason(error)}") from None


def _places(source: str, layout: str) -> list[str]:
    """The places of a source below `input`. Raises `DataError` for an unknown layout."""
    parts = PurePosixPath(source.replace("*", "someone")).parts
    whole, short = "/".join(parts), "/".join(parts[KINDS[parts[0]][1] :])
    places = {
        "new": [whole],
        "old": [short],
        "both": [whole, short],
        "moved": [f"mnt/v2/{'-'.join(parts)}/files"],
    }
    if layout not in places:
        raise DataError(f"--layout {layout}: there are {', '.join(places)}")
    return places[layout]


def _competition(folder: Path, tasks: Sequence[Task], edition: Edition) -> None:
    """Write the tasks as the test file, and a sample submission."""
    folder.mkdir(parents=True)
    nothing = {f"attempt_{i + 1}": [[0, 0], [0, 0]] for i in range(edition.attempts)}
    sample = {task.id: [nothing] * len(task.tests) for task in tasks}
    (folder / edition.challenges).write_text(challenges_json(tasks), "utf-8")
    (folder / edition.sample).write_text(json.dumps(sample), "utf-8")


def challenges_json(tasks: Sequence[Task]) -> str:
    """The tasks as a Kaggle challenges file, without test outputs."""
    return json.dumps({task.id: _record(task) for task in tasks})


def _record(task: Task) -> dict[str, Any]:
    train = [{"input": p.input.tolist(), "output": p.output.tolist()} for p in task.train]
    return {"train": train, "test": [{"input": grid.tolist()} for grid in task.tests]}
