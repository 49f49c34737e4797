"""The domain types: Grid, Pair, Task, Candidate, Attempt, and their validation.

A `Grid` is a read-only `np.uint8` array of shape (H, W), 1..30 a side, values 0..9.
A `Task` contains demonstrations and test inputs. A `Task` has no place for test outputs, so no
solver can ever see one.
"""

from __future__ import annotations

import hashlib
import itertools
import reprlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MAX_SIDE = 30
COLORS = 10

Grid = NDArray[np.uint8]  # (H, W), read-only


class DataError(ValueError):
    """Input that breaks the ARC format; the message names file, task and field."""


def as_grid(value: object) -> Grid:
    """Check nested lists (or an array) and freeze them into a `Grid`.

    Raises `DataError` that names the fault: no rows, ragged rows, a side over 30, or a cell that is
    not an integer 0..9. Booleans and floats are refused.
    """
    if isinstance(value, np.ndarray):
        value = value.tolist()
    cells = _legal_cells(value)
    if cells is None:
        raise DataError(_complaint(value))
    return np.frombuffer(cells, dtype=np.uint8).reshape(len(value), -1)  # type: ignore[arg-type]


_COLORS = bytes(range(COLORS))


def _legal_cells(value: object) -> bytes | None:
    """The cells of a legal grid; None for anything else.

    Only built-ins look at cells, for their speed: files hold millions of cells.
    """
    if not isinstance(value, list) or not 1 <= len(value) <= MAX_SIDE:
        return None
    if set(map(type, value)) != {list} or len(set(map(len, value))) != 1:
        return None
    cells = list(itertools.chain.from_iterable(value))
    if not 1 <= len(value[0]) <= MAX_SIDE or set(map(type, cells)) != {int}:
        return None
    try:
        found = bytes(cells)
    except (ValueError, OverflowError):  # negative, or over a byte
        return None
    return None if found.translate(None, _COLORS) else found


def _complaint(value: object) -> str:
    """The first fault of a value that is no grid, with its place."""
    if not isinstance(value, list) or not value:
        return f"expected a non-empty list of rows, got {_short(value)}"
    if len(value) > MAX_SIDE:
        return f"{len(value)} rows, more than {MAX_SIDE}"
    for r, row in enumerate(value):
        if not isinstance(row, list) or not row:
            return f"row {r} is not a non-empty list: {_short(row)}"
        if len(row) > MAX_SIDE:
            return f"row {r} has {len(row)} cells, more than {MAX_SIDE}"
        if len(row) != len(value[0]):
            return f"row {r} has {len(row)} cells where row 0 has {len(value[0])}"
        for c, cell in enumerate(row):
            if type(cell) is not int or not 0 <= cell < COLORS:
                return f"cell ({r}, {c}) is {_short(cell)}, not an integer 0..9"
    raise AssertionError("a legal grid has nothing to complain about")


def freeze(cells: NDArray[np.uint8]) -> Grid:
    """Return the same cells as a contiguous read-only grid (no checks: for trusted arrays)."""
    grid = np.ascontiguousarray(cells, dtype=np.uint8)
    if grid.flags.writeable:
        grid = grid.copy() if grid is cells else grid
        grid.setflags(write=False)
    return grid


def is_grid(cells: NDArray[np.uint8]) -> bool:
    """True if a uint8 array has a legal shape and legal colours."""
    return (
        cells.ndim == 2
        and 1 <= cells.shape[0] <= MAX_SIDE
        and 1 <= cells.shape[1] <= MAX_SIDE
        and int(cells.max()) < COLORS
    )


def key(grid: Grid) -> bytes:
    """Identity of a grid: shape and bytes. Equal keys mean equal grids."""
    return bytes(grid.shape) + grid.tobytes()


def same(a: Grid, b: Grid) -> bool:
    """True if two grids have the same shape and the same cells."""
    return a.shape == b.shape and bool((a == b).all())


def stable_seed(seed: int, *parts: object) -> int:
    """A 63-bit seed that is the same on every machine and in every process."""
    text = "\x1f".join([str(seed), *map(str, parts)])
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest()) >> 1


@dataclass(frozen=True, eq=False)
class Pair:
    """A demonstration: an input grid and the output grid it turns into."""

    input: Grid
    output: Grid

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Pair)
            and same(self.input, other.input)
            and same(self.output, other.output)
        )

    def __hash__(self) -> int:
        return hash((key(self.input), key(self.output)))


@dataclass(frozen=True, eq=False)
class Task:
    """Demonstrations and test inputs. Test outputs are never part of it."""

    id: str
    train: tuple[Pair, ...]
    tests: tuple[Grid, ...]

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Task)
            and (self.id, self.train) == (other.id, other.train)
            and list(map(key, self.tests)) == list(map(key, other.tests))
        )

    def __hash__(self) -> int:
        return hash((self.id, self.train, tuple(map(key, self.tests))))


@dataclass(frozen=True, eq=False)
class Candidate:
    """One predicted output grid and the evidence behind it.

    view: name of the view under which the grid was decoded, or None.
    program: the readable program that made the grid, or None.
    logprob: the model's log-likelihood of the grid, or None.
    cost_s: seconds from the start of the job to this candidate.
    scores: log-likelihoods of the grid under views that are the same for all candidates of a
    test input; empty where the grid was not measured.
    votes: number of draws that gave this grid; 0 where an engine only measured a grid that
    another job had found.
    unlearned: loss of the model on the demonstrations after learning them, in nats a token; 0
    where this loss is unknown.
    provisional: the report was sent before its job had weighed its candidates (see `settled`).
    """

    task: str
    test: int
    grid: Grid
    engine: str
    view: str | None = None
    logprob: float | None = None
    program: str | None = None
    cost_s: float = 0.0
    scores: tuple[float, ...] = ()
    votes: int = 1
    unlearned: float = 0.0
    provisional: bool = False

    @property
    def identity(self) -> tuple[object, ...]:
        """A value that is equal for two reports of the same evidence (by a repeated job)."""
        measured = None if self.votes else self.scores
        grid = key(self.grid)
        return (self.task, self.test, self.engine, self.view, self.program, grid, measured)


def settled(candidates: Sequence[Candidate]) -> list[Candidate]:
    """The candidates without the provisional reports that a final report replaces.

    A final report of the same evidence replaces a provisional one, whichever job sent it. A job
    that ends therefore leaves the same candidates as a job without provisional reports. A job
    that is cut off leaves its provisional reports.
    """
    final = {c.identity for c in candidates if not c.provisional}
    return [c for c in candidates if not c.provisional or c.identity not in final]


@dataclass(frozen=True, eq=False)
class Attempt:
    """One of the two grids handed in for a test input, and its source."""

    grid: Grid
    source: str


Attempts = tuple[Attempt, Attempt]


def _short(value: object) -> str:
    # reprlib: a value can be nested deeply or hold a million rows.
    text = reprlib.repr(value)
    return text if len(text) <= 40 else text[:37] + "..."


def names(values: Sequence[str], limit: int = 3) -> str:
    """The first few names of a list, for an error message of one line."""
    shown = ", ".join(map(repr, values[:limit]))
    return shown if len(values) <= limit else f"{shown} and {len(values) - limit} more"
