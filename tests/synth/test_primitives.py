"""Every primitive of the grid search on a small worked example, and fuzzing of all kernels."""

from __future__ import annotations

import inspect
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from solver.grid import COLORS, Grid
from solver.synth.grids import dispatch
from solver.synth.grids.expand import DROP, IMAGE, JOIN, KEEP, PAIR, PICK, SIZED, SORT, SPLIT
from solver.synth.grids.primitives import (
    DROPPED,
    IMAGES,
    JOINS,
    KEPT,
    OPS,
    PAIRS,
    PICKED,
    SIZES,
    SORTED,
    SPLITS,
    Primitive,
    call,
    operations,
)
from solver.synth.program import INPUT, Call, Image, parse

BLANK = "."


def grid(text: str) -> Grid:
    rows = [[int(c) for c in row.replace(BLANK, "0")] for row in text.split()]
    return np.array(rows, dtype=np.uint8)


def shown(value: Any) -> Any:
    """An image as (y, x, rows), a list as a list of those."""
    if isinstance(value, tuple):
        return [shown(one) for one in value]
    rows = ("".join(BLANK if c == 0 else str(c) for c in row) for row in value.cells.tolist())
    return value.y, value.x, " ".join(rows)


THREE = (Image(grid("11 1.")), Image(grid("2"), 0, 2), Image(grid("33 33"), 3, 0))
TWO = (Image(grid("11 ..")), Image(grid("2. 2."), 0, 2))

# name: (arguments, result)
EXAMPLES: dict[str, tuple[tuple[Any, ...], Any]] = {
    "keep_color": (("12 31", 1), (0, 0, "1. .1")),
    "erase_color": (("12 31", 1), (0, 0, ".2 3.")),
    "negative": (("1. .1",), (0, 0, ".1 1.")),
    "keep_ranked": (("112 3.1 3..", "rarest"), (0, 0, "..2 ... ...")),
    "paint_ranked": (("112 3.1 3..", "rarest"), (0, 0, "222 2.2 2..")),
    "ground_swap": (("33. 313", "exchanged"), (0, 0, "..3 .1.")),
    "swap_two": (("12 22", "ground too"), (0, 0, "21 11")),
    "solid": (("1.2 .1.",), (0, 0, "111 111")),
    "one_cell": (("11 2.", "commonest"), (0, 0, "1")),
    "color_row": (("112 .1.", "bars down"), (0, 0, "12 1. 1.")),
    "count_drawn": (("12 .1", "colors as row"), (0, 0, "11")),
    "turned": (("12 34", "transposed"), (0, 0, "13 24")),
    "crop": (("... .1. ...",), (1, 1, "1")),
    "to_origin": (("... .1.",), (0, 0, "... .1.")),
    "color_box": (("2222 2132 2222", 2, "inside"), (1, 1, "13")),
    "part": (("12 34", "bottom half"), (1, 0, "34")),
    "framed": (("1", 3), (-1, -1, "333 313 333")),
    "squeeze": (("112 112 333", "repeated lines"), (0, 0, "12 33")),
    "scale_up": (("12", 2), (0, 0, "1122 1122")),
    "scale_down": (("1122 1122", "most"), (0, 0, "12")),
    "tile": (("12", 1, 2, "columns flipped"), (0, 0, "1221")),
    "kaleidoscope": (("12 34", "from no turn"), (0, 0, "1231 3442 2443 1321")),
    "self_copies": (("1. 11", "nonzero cells"), (0, 0, "1... 11.. 1.1. 1111")),
    "shifted": (("12 ..", "down"), (0, 0, ".. 12")),
    "moved": (("12 34", "right"), (0, 2, "12 34")),
    "sorted_lines": (("1.. 11. ...", "rows, fullest first"), (0, 0, "11. 1.. ...")),
    "falling": (("1. .2 ..", "down"), (0, 0, ".. .. 12")),
    "filled": (("111 1.1 111", "holes only"), (0, 0, "... .1. ...")),
    "hull": (("1.. 11. ..2", "boxes"), (0, 0, "11. 11. ..2")),
    "rim": (("111 111 111", "inner cells, 8 ways"), (0, 0, "... .1. ...")),
    "smear": ((".1.. 2..3", "right"), (0, 0, ".111 2223")),
    "full_lines": ((".1. ... 2.2", "rows"), (0, 0, "111 ... 222")),
    "connected": (("1..1 2..3", "rows"), (0, 0, "1111 2..3")),
    "spread": (("1...2", "everywhere"), (0, 0, "11122")),
    "flooded": (("1111 1.21 1111", "4 ways"), (0, 0, "1111 1221 1111")),
    "sized_parts": (("11.. ...2", "all but lone cells"), (0, 0, "11.. ....")),
    "smoothed": (("111 131 111", "8 ways"), (0, 0, "111 111 111")),
    "mirrored": (("1.. .2.", "left-right"), (0, 0, "1.1 .2.")),
    "mirrored_best": (("1221 3443 19.1", 9), (0, 0, "1221 3443 1..1")),
    "periodic": (("12121. 34.434", 0), (0, 0, "121212 343434")),
    "largest_rectangle": (("1... .... 11..", "ground"), (0, 0, ".111 .111 ....")),
    "placed": (("1", "middle", (3, 3)), (0, 0, "... .1. ...")),
    "reflowed": (("1.2 .3.", "nonzero cells by rows", (2, 2)), (0, 0, "12 3.")),
    "stretched": (("12", (2, 4)), (0, 0, "1122 1122")),
    "repeated": (("12", "mirrored", (1, 5)), (0, 0, "12211")),
    "go_on": (("121", "rows", (1, 6)), (0, 0, "121212")),
    "color_frame": (("1", 3, "edge", (3, 3)), (0, 0, "333 3.3 333")),
    "with_input": (("1. .1", "input where nonzero", grid("23 45")), (0, 0, "2. .5")),
    "input_there": (("1", "box", grid("23 45")), (0, 0, "2")),
    "input_times": (("1. .1", "input at nonzero cells", grid("23")), (0, 0, "23.. ..23")),
    "split_colors": (("1.2 .1.", "cropped"), [(0, 0, "1. .1"), (0, 2, "2")]),
    "split_parts": (("11. ..2 .2.", "one color"), [(0, 0, "11"), (1, 2, "2"), (2, 1, "2")]),
    "split_lines": (("1.5.2 3.5.4", "separators"), [(0, 0, "1. 3."), (0, 3, ".2 .4")]),
    "split_even": (("1234", 1, 2), [(0, 0, "12"), (0, 2, "34")]),
    "split_strips": (("12 34", "rows"), [(0, 0, "12"), (1, 0, "34")]),
    "split_holes": (("111 1.1 111", "enclosed"), [(1, 1, "1")]),
    "split_marked": (("3..3 .1.. .2.. 3..3", "inside corners"), [(1, 1, "1. 2.")]),
    "draw_all": ((THREE, "first on top"), (0, 0, "112 1.. ... 33. 33.")),
    "stacked": ((THREE, "across"), (0, 0, "11233 1..33")),
    "combined": ((TWO, "in exactly one"), (0, 0, ".1 2.")),
    "overview": ((TWO, "commonest color"), (0, 0, "12")),
    "list_count": ((TWO, "diagonal"), (0, 0, "1. .1")),
    "pick": ((THREE, "most cells"), (3, 0, "33 33")),
    "keep": ((THREE, "fewest cells"), [(0, 2, "2")]),
    "drop": ((THREE, "most cells"), [(0, 0, "11 1."), (0, 2, "2")]),
    "sort": ((THREE, "fewest cells first"), [(0, 2, "2"), (0, 0, "11 1."), (3, 0, "33 33")]),
    "each": ((TWO, "negative"), [(0, 0, ".. 11"), (0, 2, ".2 .2")]),
}


def test_every_primitive_has_an_example_and_a_meaning() -> None:
    assert EXAMPLES.keys() == OPS.keys()
    assert all(op.meaning for op in OPS.values())


@pytest.mark.parametrize("name", EXAMPLES)
def test_example(name: str) -> None:
    (value, *args), result = EXAMPLES[name]
    value = Image(grid(value)) if isinstance(value, str) else value
    assert shown(OPS[name].function(value, *args)) == result


@pytest.mark.parametrize("name", EXAMPLES)
def test_what_is_no_image_gives_nothing(name: str) -> None:
    (_, *args), _ = EXAMPLES[name]
    assert OPS[name].function("text", *args) is None


grids = st.integers(1, 8).flatmap(
    lambda h: st.integers(1, 8).flatmap(
        lambda w: st.lists(
            st.lists(st.sampled_from([0, 0, 1, 2, 5]), min_size=w, max_size=w),
            min_size=h,
            max_size=h,
        )
    )
).map(lambda rows: np.array(rows, dtype=np.uint8))  # fmt: skip


@given(grids, st.sampled_from(range(1, 8)))
def test_turns_are_symmetries(cells: Grid, arg: int) -> None:
    image = Image(cells)
    inverse = {5: 6, 6: 5}.get(arg, arg)
    back = OPS["turned"].function(OPS["turned"].function(image, arg), inverse)
    assert np.array_equal(back.cells, cells)


@given(grids, st.sampled_from(["crop", "squeeze", "spread", "solid"]))
def test_repeating_these_changes_nothing(cells: Grid, name: str) -> None:
    arg = {"squeeze": 1}.get(name, 0)
    once = OPS[name].function(Image(cells), arg)
    if once is not None:
        assert np.array_equal(OPS[name].function(once, arg).cells, once.cells)


@given(grids, st.integers(0, 9))
def test_colour_is_kept_or_erased(cells: Grid, color: int) -> None:
    kept = OPS["keep_color"].function(Image(cells), color).cells
    rest = OPS["erase_color"].function(Image(cells), color).cells
    assert np.array_equal(kept + rest, cells)


@given(grids)
def test_parts_drawn_together_are_the_content(cells: Grid) -> None:
    parts = OPS["split_parts"].function(Image(cells), 1)
    crop = OPS["crop"].function(Image(cells), 0)
    if parts is None:
        assert crop is None
    else:
        assert shown(OPS["draw_all"].function(parts, 0)) == shown(crop)


@pytest.mark.parametrize(
    ("dispatching", "kernels", "primitives"),
    [
        (dispatch.image_op, dispatch.IMAGE, IMAGES),
        (dispatch.sized_op, dispatch.SIZED, SIZES),
        (dispatch.pair_op, dispatch.PAIR, PAIRS),
        (dispatch.split_op, dispatch.SPLIT, SPLITS),
        (dispatch.join_op, dispatch.JOIN, JOINS),
    ],
)
def test_a_number_stands_for_the_kernel_with_the_name_of_its_primitive(
    dispatching: Any, kernels: Sequence[Any], primitives: Sequence[Primitive]
) -> None:
    names = [primitive.name for primitive in primitives]
    assert [kernel.__name__ for kernel in kernels] == names
    source = inspect.getsource(getattr(dispatching, "py_func", dispatching))
    chain = re.findall(r"if code == (\d+):\n\s+return \w+\.(\w+)\(", source)
    assert chain == [(str(number), name) for number, name in enumerate(names)]


FAMILIES = {IMAGE: IMAGES, SIZED: SIZES, PAIR: PAIRS, SPLIT: SPLITS, JOIN: JOINS}
LISTED = {PICK: PICKED, KEEP: KEPT, DROP: DROPPED, SORT: SORTED}


def test_programs_write_words_and_read_the_numbers_of_old_journals() -> None:
    """Each mode's words parse back to the mode, and its number gives the same grid."""
    image, leaf = Image(grid("1.2 .12 311")), Image(grid("11. 2.2 .33"))
    size = Call("size_of", (INPUT,))
    rows = [(k, code, p) for k, family in FAMILIES.items() for code, p in enumerate(family)]
    for kind, code, primitive in [*rows, *((k, 0, p) for k, p in LISTED.items())]:
        value = (image, leaf) if kind in (JOIN, *LISTED) else image
        more = {SIZED: (size,), PAIR: (INPUT,)}.get(kind, ())
        last = {SIZED: ((4, 5),), PAIR: (leaf,)}.get(kind, ())
        written = set()
        for mode in primitive.modes(range(COLORS)):
            step = call(kind, code, mode, INPUT, INPUT, size)
            words = step.args[1 : len(step.args) - len(more)]
            assert parse(str(step)) == step
            assert primitive.reader()(words) == mode
            written.add(words)
            function = OPS[primitive.name].function
            now, before = function(value, *words, *last), function(value, mode, *last)
            assert (now is None) == (before is None)
            assert now is None or shown(now) == shown(before), step
        assert len(written) == len(primitive.modes(range(COLORS)))


def test_a_word_that_is_no_mode_does_not_apply() -> None:
    assert OPS["part"].function(Image(grid("12 34")), "left third") is None
    assert OPS["part"].function(Image(grid("12 34"))) is None


def test_operations_are_sorted_by_cost_and_need_a_size_for_frames() -> None:
    unsized, sized = operations([0, 1, 2], False), operations([0, 1, 2], True)
    assert len(sized) > len(unsized)
    assert (np.diff(sized[:, 3]) >= 0).all()
    assert len({tuple(row[:3]) for row in sized.tolist()}) == len(sized)


def test_kernels_stay_in_bounds() -> None:
    """Run the same kernels as plain Python, where NumPy checks every index."""
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "1"}
    result = subprocess.run(
        [sys.executable, __file__], env=environment, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr[-2000:]


def fuzz(seed: int = 0) -> None:
    """Apply every primitive with every parameter to a few random grids."""
    rng = np.random.default_rng(seed)
    palette = [0, 1, 2]
    for h, w in [(1, 1), (1, 4), (3, 3), (5, 4), (4, 6)]:
        image = Image(rng.choice([0, 0, 1, 2], (h, w)).astype(np.uint8), -1, 2)
        lists = []
        for primitive in (*IMAGES, *SIZES, *PAIRS, *SPLITS):
            for arg in primitive.modes(palette):
                extra: tuple[Any, ...] = ()
                if primitive in SIZES:
                    extra = ((3, 5),)
                elif primitive in PAIRS:
                    extra = (grid("1.2 .1."),)
                result = OPS[primitive.name].function(image, arg, *extra)
                if isinstance(result, tuple):
                    lists.append(result)
                elif result is not None:
                    assert result.cells.max() < 10
                    assert max(result.cells.shape) <= 30
        for images in lists[:12]:
            for name in (*(p.name for p in JOINS), "pick", "keep", "drop", "sort"):
                for arg in range(0, 34, 3):
                    OPS[name].function(images, min(arg, 7) if name == "draw_all" else arg)


if __name__ == "__main__":
    fuzz()
