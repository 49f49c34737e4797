"""Running programs: `run` gives the output, `trace` also gives every grid on the way."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from solver.grid import Grid
from solver.synth.ops import all_ops
from solver.synth.program import INPUT, Call, Image, Op, as_output


def run(program: Call, grid: Grid, ops: Mapping[str, Op] | None = None) -> Grid | None:
    """The output of a program for a grid; None if the program does not apply to the grid.

    Raises `ValueError` if the program names an operation that is not in `ops`. The default of
    `ops` is all operations.
    """
    return as_output(_evaluate(program, grid, ops or all_ops(), {}))


def trace(
    program: Call, grid: Grid, ops: Mapping[str, Op] | None = None
) -> list[tuple[str, Grid | None]]:
    """Every distinct sub-expression with its grid, in order of evaluation.

    A list of images is shown as one grid, with each image drawn in its place. Sub-expressions
    with neither a grid nor images are left out. The last entry is the output; None if the
    program does not apply.
    """
    memo: dict[Call, Any] = {}
    table = ops or all_ops()
    steps = {}
    for call in program.calls():
        shown = _drawn(_evaluate(call, grid, table, memo))
        if shown is not None or call == program:
            steps[str(call)] = shown
    return list(steps.items())


def _evaluate(arg: Any, grid: Grid, ops: Mapping[str, Op], memo: dict[Call, Any]) -> Any:
    if isinstance(arg, tuple):
        return tuple(_evaluate(entry, grid, ops, memo) for entry in arg)
    if not isinstance(arg, Call):
        return arg
    if arg == INPUT:
        return grid
    if arg in memo:
        return memo[arg]
    if arg.name not in ops:
        raise ValueError(f"no operation {arg.name!r}")
    values = [_evaluate(entry, grid, ops, memo) for entry in arg.args]
    missing = any(value is None for value in values)
    memo[arg] = None if missing else ops[arg.name].function(*values)
    return memo[arg]


def _drawn(value: Any) -> Grid | None:
    if not isinstance(value, tuple):
        return as_output(value)
    images = [image for image in value if isinstance(image, Image)]
    if not images or len(images) < len(value):
        return None
    top, left = min(i.y for i in images), min(i.x for i in images)
    bottom = max(i.y + i.cells.shape[0] for i in images)
    right = max(i.x + i.cells.shape[1] for i in images)
    canvas = np.zeros((bottom - top, right - left), dtype=np.uint8)
    for image in images:
        h, w = image.cells.shape
        place = canvas[image.y - top : image.y - top + h, image.x - left : image.x - left + w]
        np.copyto(place, image.cells, where=image.cells != 0)
    return as_output(canvas)
