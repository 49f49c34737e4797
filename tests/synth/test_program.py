"""Programs as values: printing, parsing, running, tracing, their length."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from solver.grid import Grid
from solver.synth.interpret import run, trace
from solver.synth.ops import all_ops
from solver.synth.program import INPUT, Call, Image, Op, description_length, parse

GRID = np.array([[0, 1], [2, 3]], dtype=np.uint8)
TABLE = {
    "flip": Op(lambda grid: grid[:, ::-1], "left-right"),
    "add": Op(lambda grid, n: grid + np.uint8(n), "add to every cell"),
    "parts": Op(lambda grid: (Image(grid[:1]), Image(grid[1:], 1, 0)), "rows"),
    "first": Op(lambda images: images[0], "the first"),
    "nothing": Op(lambda grid: None, "never applies"),
    "large": Op(lambda grid: np.zeros((31, 1), np.uint8), "no legal grid"),
}


def output(text: str) -> Grid:
    made = run(parse(text), GRID, TABLE)
    assert made is not None
    return made


names = st.from_regex(r"[a-z][a-z_]{0,5}", fullmatch=True).filter(
    lambda name: (
        name not in {"input", "if", "in", "is", "or", "and", "not", "for", "as", "def"}
        and not __import__("keyword").iskeyword(name)
    )
)
literals = st.integers(-99, 99) | st.text(max_size=4)
programs = st.recursive(
    st.just(INPUT),
    lambda inner: st.builds(
        lambda name, args: Call(name, tuple(args)),
        names,
        st.lists(inner | literals | st.tuples(literals, inner) | st.tuples(), max_size=3),
    ),
    max_leaves=8,
)


@given(programs)
def test_text_parses_back_to_the_same_program(program: Call) -> None:
    assert parse(str(program)) == program


@pytest.mark.parametrize(
    "text",
    [
        "3",
        "'a'",
        "f(",
        "f(x)",
        "f(input, a=1)",
        "input.cells",
        "f(*input)",
        "f(1.5)",
        "f(True)",
        "f(b'a')",
        "[input]",
        "lambda: 0",
        "f(input) + f(input)",
        "f(-'a')",
        "(" * 300 + "input" + ")" * 300,
    ],
)
def test_other_text_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no program"):
        parse(text)


def test_run_evaluates_from_the_leaf() -> None:
    assert output("add(flip(input), 2)").tolist() == [[3, 2], [5, 4]]
    assert output("first(parts(input))").tolist() == [[0, 1]]


def test_run_gives_none_where_a_program_does_not_apply() -> None:
    assert run(parse("flip(nothing(input))"), GRID, TABLE) is None
    assert run(parse("large(input)"), GRID, TABLE) is None
    assert run(parse("parts(input)"), GRID, TABLE) is None


def test_unknown_operations_are_named() -> None:
    with pytest.raises(ValueError, match="'unknown'"):
        run(parse("unknown(input)"), GRID, TABLE)


def test_the_result_is_a_frozen_grid() -> None:
    assert not output("add(input, 1)").flags.writeable


def test_trace_shows_every_step_once() -> None:
    steps = trace(parse("add(flip(input), 0)"), GRID, TABLE)
    assert [text for text, _ in steps] == ["input", "flip(input)", "add(flip(input), 0)"]
    lists = dict(trace(parse("first(parts(input))"), GRID, TABLE))
    drawn = lists["parts(input)"]
    assert drawn is not None
    assert drawn.tolist() == GRID.tolist()


def test_longer_programs_cost_more() -> None:
    short, longer = parse("flip(input)"), parse("add(flip(input), 1)")
    assert 0 == description_length(INPUT) < description_length(short) < description_length(longer)


def test_all_operations_merge_and_have_meanings() -> None:
    assert all(op.meaning and "\n" not in op.meaning for op in all_ops().values())
