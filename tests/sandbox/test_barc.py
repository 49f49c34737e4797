"""The functions that BARC's programs call, each against a small picture."""

from __future__ import annotations

import inspect

import numpy as np
import pytest

from solver.deadline import Deadline
from solver.grid import as_grid
from solver.sandbox import barc
from solver.sandbox.barc import Cells, Color
from solver.sandbox.parent import Sandbox


def grid(*rows: str) -> Cells:
    return np.array([[int(cell) for cell in row] for row in rows])


RING = grid("00000", "01110", "01010", "01110", "00000")
TWO = grid("1100", "0020", "0002", "3000")


@pytest.mark.parametrize(
    ("connectivity", "monochromatic", "sizes"),
    [(4, True, [2, 1, 1, 1]), (8, True, [2, 2, 1]), (4, False, [2, 1, 1, 1]), (8, False, [4, 1])],
)
def test_components(connectivity: int, monochromatic: bool, sizes: list[int]) -> None:
    parts = barc.find_connected_components(TWO, 0, connectivity, monochromatic)
    assert [int((part != 0).sum()) for part in parts] == sizes
    assert all(part.shape == TWO.shape for part in parts)
    assert (np.sum(parts, axis=0) == TWO).all()
    assert barc.is_contiguous(parts[0], connectivity=connectivity)
    assert not barc.is_contiguous(TWO)


def test_components_on_another_background() -> None:
    (part,) = barc.find_connected_components(grid("555", "525", "555"), background=5)
    assert (part == grid("555", "525", "555")).all()


def test_detected_objects_have_the_size_color_and_look_that_is_asked_for() -> None:
    found = barc.detect_objects(TWO, connectivity=8, monochromatic=True)
    assert len(found) == 3
    sizes = barc.detect_objects(TWO, monochromatic=True, allowed_dimensions=[(1, 2)])
    assert [barc.object_colors(thing) for thing in sizes] == [[1]]
    assert len(barc.detect_objects(TWO, monochromatic=True, colors=[2])) == 2
    assert len(barc.detect_objects(TWO, monochromatic=True, predicate=lambda s: s.size == 2)) == 1


def test_boxes_and_places() -> None:
    thing = grid("0000", "0110", "0110", "0110")
    assert barc.bounding_box(thing) == (1, 1, 3, 2)
    assert (barc.crop(thing) == 1).all()
    assert barc.crop(thing).shape == (3, 2)
    assert barc.crop(np.zeros((2, 3))).size == 0
    assert barc.object_position(thing) == (1, 1)
    assert barc.object_position(thing, anchor="lower right") == (3, 2)
    assert barc.object_position(thing, anchor="upper right") == (3, 1)
    assert barc.object_position(thing, anchor="center") == (2, 1.5)
    assert barc.object_colors(TWO) == [1, 2, 3]


def test_inside_border_and_neighbours() -> None:
    assert (barc.object_interior(RING) == grid("00000", "01110", "01110", "01110", "00000")).all()
    assert (barc.object_boundary(RING) == RING).all()
    solid = grid("000", "111", "111")
    assert (barc.object_boundary(solid) == (solid == 1)).all()
    assert (barc.object_boundary(np.ones((4, 4)))[1:3, 1:3] == 0).all()
    assert (barc.object_neighbors(solid) == grid("111", "000", "000")).all()
    corner = grid("100", "000")
    assert barc.object_neighbors(corner).sum() == 2
    assert barc.object_neighbors(corner, connectivity=8).sum() == 3


def test_filling() -> None:
    filled = RING.copy()
    barc.flood_fill(filled, 2, 2, 7)
    assert (filled == grid("00000", "01110", "01710", "01110", "00000")).all()
    barc.flood_fill(filled, 0, 0, 3)
    assert (filled == 3).sum() == 16
    barc.flood_fill(filled, 0, 0, 3)  # in its own colour: ends
    big = np.zeros((30, 30), dtype=int)
    barc.flood_fill(big, 0, 0, 4, connectivity=8)
    assert (big == 4).all()


def test_lines() -> None:
    empty = np.zeros((3, 4), dtype=int)
    assert (barc.draw_line(empty.copy(), 0, 0, end_x=2, end_y=2, color=5) == grid(
        "5000", "0500", "0050"
    )).all()  # fmt: skip
    assert barc.draw_line(empty.copy(), 1, 0, direction=(0, 1), color=5)[1].tolist() == [5] * 4
    short = barc.draw_line(empty.copy(), 1, 3, direction=(0, -1), length=2, color=5)
    assert short[1].tolist() == [0, 0, 5, 5]
    wall = grid("0020")
    barc.draw_line(wall, 0, 0, direction=(0, 1), color=5, stop_at_color=[2])
    assert wall.tolist() == [[5, 5, 2, 0]]
    with pytest.raises(ValueError, match="say where to"):
        barc.draw_line(empty, 0, 0, color=1)


def test_copying_moving_and_scaling() -> None:
    canvas, sprite = np.zeros((2, 3), dtype=int), grid("40", "44")
    assert (barc.blit_sprite(canvas.copy(), sprite, 0, 2) == grid("004", "004")).all()
    assert (barc.blit(np.ones((2, 2), dtype=int), sprite) == sprite).all()
    assert (barc.blit_sprite(np.ones((2, 2), int), sprite, 0, 0) == grid("41", "44")).all()
    assert (barc.blit_object(canvas.copy(), grid("010", "000")) == grid("010", "000")).all()
    assert (barc.translate(grid("120", "000"), 1, 1) == grid("000", "012")).all()
    assert (barc.scale_sprite(grid("12"), 2) == grid("1122", "1122")).all()


def test_touching() -> None:
    one = grid("1")
    assert barc.collision(object1=one, object2=one)
    assert not barc.collision(object1=one, object2=one, x2=1)
    assert barc.contact(object1=one, object2=one, x2=1)
    assert not barc.contact(object1=one, object2=one, x1=3, x2=4, y2=1)
    assert barc.contact(object1=one, object2=one, x1=3, x2=4, y2=1, connectivity=8)
    with pytest.raises(ValueError, match="4 or 8"):
        barc.contact(object1=one, object2=one, connectivity=6)


def test_colors_have_their_names() -> None:
    assert (Color.BLACK, Color.GREY, Color.TEAL, Color.MAROON) == (0, 5, 8, 9)
    assert [*Color.ALL_COLORS] == [0, *Color.NOT_BLACK]


def test_every_function_is_documented() -> None:
    public = [f for name, f in inspect.getmembers(barc, inspect.isfunction) if name[0] != "_"]
    assert len(public) > 15
    assert all(function.__doc__ for function in public)


def test_a_program_as_the_checkpoints_write_it_runs_in_the_sandbox() -> None:
    program = """
from common import *
import numpy as np
from typing import *

def transform(input_grid: np.ndarray) -> np.ndarray:
    objects = find_connected_components(input_grid, background=Color.BLACK, connectivity=8)
    largest = max(objects, key=lambda thing: np.sum(thing != Color.BLACK))
    output_grid = np.full_like(input_grid, Color.BLACK)
    blit_object(output_grid, largest, background=Color.BLACK)
    return crop(output_grid)
"""
    with Sandbox() as sandbox:
        (outcome,) = sandbox.run(program, [as_grid(RING)], Deadline.after(60)).outcomes
    assert not isinstance(outcome, str), outcome
    assert (outcome == barc.crop(RING)).all()
