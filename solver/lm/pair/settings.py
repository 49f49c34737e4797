"""Settings of the pair model in a profile: the model's folder, and the use of a task's slice.

The process of the run reads the settings, and the workers read them again. Nothing here imports
torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from solver.grid import DataError
from solver.kit import CONFIG_FILE, WEIGHTS_FILE
from solver.lm.settings import Part, Strategy, require
from solver.settings import Range, fill

NEEDED = ("torch", "safetensors")
TURNS = 8


@dataclass(frozen=True)
class PairSettings:
    """Settings of the pair model.

    folder: the model's folder; the bundled model if empty.
    learning: part of a slice for learning the task, 0 for none; the rest is for answering.
    views: number of turns in which the task is answered.
    strategy: the search strategy that answers.
    """

    folder: str = ""
    learning: Part = 0.5
    views: Annotated[int, Range(least=1, most=TURNS)] = TURNS
    strategy: Strategy = "dfs"


def read(given: Mapping[str, Any], at: str = "") -> PairSettings:
    """The settings in a table of a profile. `at`: the table's place, for errors.

    Raises `DataError` naming a key that is not a setting, or a value that is not allowed.
    """
    return fill(PairSettings, given, at)


def check(given: Mapping[str, Any], memory_mb: int) -> None:
    """Raise `DataError` for a library that is missing, or a folder without a model's files.

    The content of the files is checked later, by the worker.
    """
    require(NEEDED, "the pair model")
    folder = read(given).folder
    for file in (CONFIG_FILE, WEIGHTS_FILE) if folder else ():
        if not (Path(folder) / file).is_file():
            raise DataError(f"{Path(folder) / file}: no such file; `folder` must hold a pair model")
