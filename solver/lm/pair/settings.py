"""Settings of the pair model in a profile: its folder, and how a task's slice is spent.

Read in the process of the run and again by the workers; nothing here imports torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from solver.grid import DataError
from solver.kit import CONFIG, WEIGHTS
from solver.lm.settings import Part, Strategy, require
from solver.settings import Range, fill

NEEDED = ("torch", "transformers", "bitsandbytes", "safetensors")
TURNS = 8


@dataclass(frozen=True)
class PairSettings:
    """How the pair model solves.

    folder: of the model; the kit's own if left out. learning: part of a slice in which the task
    is learned, 0 for none; the rest is for answering it by `strategy`, in so many turns
    (`views`).
    """

    folder: str = ""
    learning: Part = 0.5
    views: Annotated[int, Range(least=1, most=TURNS)] = TURNS
    strategy: Strategy = "dfs"


def read(given: Mapping[str, Any], at: str = "") -> PairSettings:
    """The settings that a profile gives, `at` a place. Raises `DataError` naming what is none."""
    return fill(PairSettings, given, at)


def check(given: Mapping[str, Any], memory_mb: int) -> None:
    """Raise `DataError` for a library that is missing, or a folder that holds no model; what is in
    the files the worker sees."""
    require(NEEDED, "the pair model")
    folder = read(given).folder
    for file in (CONFIG, WEIGHTS) if folder else ():
        if not (Path(folder) / file).is_file():
            raise DataError(f"{Path(folder) / file}: no such file; `folder` must hold a pair model")
