"""Salvage of a task that breaks the format: its legal pairs, and a place for every answer.

A hidden task must be answered in any form, since a submission without the task counts for nothing.
Legal parts of the task stay. Other parts are left out or cut down to a legal grid.
"""

from __future__ import annotations

from typing import Any

from solver.grid import MAX_SIDE, DataError, Grid, Pair, Task, as_grid

_NOTHING = [[0]]


def salvage(task_id: str, value: Any) -> Task:
    """A legal task from any value: its legal demonstrations, and every test input cut to size.

    Without a legal demonstration, the other demonstrations are cut to size. Without a test input,
    the task gets a test input of a single cell.
    """
    pairs = [_sides(pair) for pair in _items(value, "train")]
    legal = [(i, o) for i, o in pairs if _is_legal(i) and _is_legal(o)]
    train = tuple(Pair(cut(i), cut(o)) for i, o in legal or pairs or [(None, None)])
    tests = tuple(cut(_sides(test)[0]) for test in _items(value, "test")) or (cut(None),)
    return Task(task_id, train, tests)


def cut(value: Any) -> Grid:
    """The upper left part of a grid that is too large; one black cell for anything else."""
    rows = value[:MAX_SIDE] if isinstance(value, list) else []
    try:
        return as_grid([row[:MAX_SIDE] for row in rows])
    except (DataError, TypeError):
        return as_grid(_NOTHING)


def _items(value: Any, name: str) -> list[Any]:
    found = value.get(name) if isinstance(value, dict) else None
    return found if isinstance(found, list) else []


def _sides(pair: Any) -> tuple[Any, Any]:
    return (pair.get("input"), pair.get("output")) if isinstance(pair, dict) else (None, None)


def _is_legal(value: Any) -> bool:
    try:
        as_grid(value)
    except DataError:
        return False
    return True
