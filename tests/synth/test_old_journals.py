"""Programs of journals before version 0.3, which wrote modes as numbers, run as they did."""

from __future__ import annotations

import numpy as np
import pytest

from solver.grid import Grid, as_grid
from solver.synth.interpret import run
from solver.synth.program import parse

EVERY = "('', 'all', 0)"
LARGEST = "('area', 'max', 0)"
RULES = f"'0', (({LARGEST}, ('paint', 'self', '7')), ({EVERY}, ('keep',)))"
TURNS = (
    *("as is", "counterclockwise", "half turn", "clockwise"),
    *("transposed", "left-right", "antitransposed", "upside down"),
)
MODES = {
    "8": "one color, 8 ways",
    "4": "one color, 4 ways",
    "m8": "mixed, 8 ways",
    "m4": "mixed, 4 ways",
    "c": "colors",
    "a4": "regions",
    "h4": "ground",
    "px": "cells",
    "ink": "ink",
    "p sep": "parts sep",
}

# A program of before, with the words that stand in it today in place of each {}.
PROGRAMS = [
    ("crop(input{})", [", 0"], [""]),
    ("part(input, {})", [2], ["'left half'"]),
    ("tile(input, {})", [112], ["1, 2, 'columns flipped'"]),
    ("overview(split_lines(input, {}), {})", [0, 0], ["'separators'", "'commonest color'"]),
    ("pick(split_parts(input, {}), {})", [3, 1], ["'mixed colors, 8 ways'", "'fewest cells'"]),
    ("draw_all(each(input, 'turned', {}), {})", [1, 1], ["'left-right'", "'last on top'"]),
    ("placed(color_box(input, {}), {}, size_of(input))", [12, 1], ["2, 'inside'", "'middle'"]),
    ("with_input(rim(input, {}), {}, input)", [4, 3], ["'edge cells, 8 ways'", "'under input'"]),
    *(("turn(input, {})", [k], [repr(word)]) for k, word in enumerate(TURNS)),
    *((f"object_rule(input, {{!r}}, {RULES})", [old], [new]) for old, new in MODES.items()),
    (f"object_rule(input, 'ink', '0', (({EVERY}, ('turn', {{!r}})),))", [3], ["clockwise"]),
    (f"select(input, 'ink', '0', 'crop', {{!r}}, {LARGEST})", ["d8 5"], ["left-right"]),
    ("listing(input, 'colors', '0', 'row', 'area', {!r}, 0)", [-1], ["falling"]),
    ("repair(input, '5', 'tile', {!r})", [1], ["partly"]),
    ("patch(input, '4', 'mirror', {!r})", [2], ["upside down"]),
    ("anchors(input, 'mixed, 8 ways', 8, 1, {!r})", [1], ["cleared"]),
    (f"about_centre(input, 'colors', {LARGEST}, 'all', {{!r}})", [1], ["whole grid"]),
    ("travel(input, 2, {!r}, {!r}, 'bounce')", [-1, 1], ["own", "up-right"]),
    ("blocks(input, (({!r}, {!r}),))", ["0", "5"], ["as is", "left-right"]),
    ("fractal(input, 'filled', {!r}, 'blank')", ["0"], ["as is"]),
    ("expand(input, {!r}, ((0, ((0, 0),)), (1, ((10, 3),))))", [1], ["own color"]),
    ("unfold(input, {!r}, {!r})", [-1, 2], ["before", "twice"]),
]


def grids() -> list[Grid]:
    """Random grids, one with a separator, one with two objects of several colours."""
    rng = np.random.default_rng(0)
    found = [rng.choice([0, 0, 1, 2], shape) for shape in ((3, 3), (4, 5), (5, 5))]
    parted = np.array([[1, 0, 5, 0, 2], [0, 3, 5, 4, 0]])
    framed = np.full((5, 5), 2)
    framed[1:4, 1:4] = [[1, 0, 1], [0, 3, 0], [1, 0, 1]]
    symmetric = np.array([[1, 2, 2, 1], [3, 6, 6, 3], [3, 6, 4, 4], [1, 2, 4, 4]])
    template = np.zeros((8, 8), dtype=int)
    template[1, 1:4] = [3, 1, 2]
    template[6, 4], template[6, 6] = 3, 2
    return [as_grid(cells) for cells in (*found, parted, framed, symmetric, template)]


@pytest.mark.parametrize(("text", "old", "new"), PROGRAMS)
def test_a_program_of_an_old_journal_runs_as_it_did(
    text: str, old: list[object], new: list[object]
) -> None:
    before, today = parse(text.format(*old)), parse(text.format(*new))
    answers = [(run(before, grid), run(today, grid)) for grid in grids()]
    assert any(then is not None for then, _ in answers)
    for then, now in answers:
        assert (then is None) == (now is None)
        assert then is None or now is None or np.array_equal(then, now)
