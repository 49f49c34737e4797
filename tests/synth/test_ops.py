"""The whole language: every operation has a meaning and a test, and small ones a worked example."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from solver.grid import as_grid
from solver.synth.interpret import run
from solver.synth.ops import all_ops
from solver.synth.program import parse

GRID = as_grid([[1, 2, 2], [0, 0, 3]])

EXAMPLES: dict[str, Any] = {
    "size_of(input)": (2, 3),
    "size_fixed(4, 5)": (4, 5),
    "size_times(input, 2, 1, 1, 3)": (4, 1),
    "size_plus(input, 1, -1)": (3, 2),
    "size_turned(input)": (3, 2),
    "size_squared(input)": (4, 9),
}
GRIDS = {
    "map_colors(input, ((1, 5), (2, 1)))": [[5, 1, 1], [0, 0, 3]],
    "turn(input, 1)": [[2, 3], [2, 0], [1, 0]],
    "turn(input, 4)": [[1, 0], [2, 0], [2, 3]],
    "turn(input, 5)": [[2, 2, 1], [3, 0, 0]],
    "rank_colors(input, (0,))": [[2, 1, 1], [0, 0, 3]],
    "unrank_colors(rank_colors(input, (0,)), input, (0,))": GRID.tolist(),
}


@pytest.mark.parametrize("text", EXAMPLES)
def test_sizes(text: str) -> None:
    program = parse(text)
    arguments = [GRID if str(arg) == "input" else arg for arg in program.args]
    assert all_ops()[program.name].function(*arguments) == EXAMPLES[text]


def test_the_size_of_a_part_between_separators() -> None:
    """Five cells with a separator in the middle: two parts of two."""
    grid = as_grid([[1, 1, 5, 1, 1]] * 5)
    assert all_ops()["size_gapped"].function(grid, 1, 1, 2, 1, 2) == (2, 2)


def test_a_size_that_does_not_divide_is_none() -> None:
    assert all_ops()["size_times"].function(GRID, 1, 2, 1, 2) is None


@pytest.mark.parametrize("text", GRIDS)
def test_views_and_colours(text: str) -> None:
    answer = run(parse(text), GRID)
    assert answer is not None
    assert answer.tolist() == GRIDS[text]


def test_every_operation_has_a_meaning_of_one_line_and_stands_in_a_test() -> None:
    files = (path for path in Path(__file__).parent.glob("test_*.py") if "golden" not in path.name)
    tests = "\n".join(path.read_text() for path in files)
    tested = {name for name in all_ops() if re.search(rf"\b{name}\b", tests)}
    assert tested == set(all_ops())
    for name, op in all_ops().items():
        assert op.meaning, name
        assert "\n" not in op.meaning, name
