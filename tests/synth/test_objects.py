"""Objects, their properties, regions, paints and stamps."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from solver.grid import Grid, freeze
from solver.synth.objects import objects
from solver.synth.objects.colors import REFS, color_ref
from solver.synth.objects.objects import FEATURES, MODES, PART_MODES, Scene, background, segment
from solver.synth.objects.paints import VERBS, draw, paint
from solver.synth.objects.regions import ALL_REGIONS, region
from solver.synth.objects.stamps import stamps
from solver.views import turn

RING = freeze(np.array([[0, 0, 0, 0], [0, 3, 3, 3], [0, 3, 0, 3], [0, 3, 3, 3]], dtype=np.uint8))
TWO = freeze(np.array([[1, 0, 0, 0], [0, 1, 0, 2], [0, 0, 0, 2]], dtype=np.uint8))
small_grids = arrays(np.uint8, st.tuples(st.integers(1, 7), st.integers(1, 7)),
                     elements=st.integers(0, 3)).map(freeze)  # fmt: skip

ACTIONS = (
    ("keep",), ("paint", "box_blank", "own"), ("move", 1, 0), ("copy", 0, -1), ("ghost", 1, 1, "2"),
    ("shift", 1, 1, "own"), ("step", "right", 1), ("fall", "down"), ("approach", "largest", 30),
    ("turn", "left-right"), ("mirror", "left", 0), ("swap",), ("stamp", ((10, -1), (2, 3)), -1, 0),
    ("trail", ((1, -1, 10), (2, 0, 3)), 2, 0), ("symmetric", "all", "cells"), ("echo",), ("fit",),
    ("slide", "own", "own", "stay"), ("reflect", "2"), ("centre", "2"), ("align", "rows", "1"),
)  # fmt: skip


def scene_of(grid: Grid, mode: str = "one color, 8 ways", how: str = "0") -> Scene:
    scene = segment(grid, mode, how)
    assert scene is not None
    return scene


@pytest.mark.parametrize(
    ("mode", "count"),
    [("one color, 8 ways", 2), ("one color, 4 ways", 3), ("mixed, 8 ways", 1),
     ("mixed, 4 ways", 2), ("colors", 2), ("cells", 4), ("ink", 1), ("ground", 2),
     ("regions", 5)],
)  # fmt: skip
def test_modes_cut_as_they_say(mode: str, count: int) -> None:
    grid = freeze(np.array([[1, 0, 0, 0], [0, 1, 2, 2], [0, 0, 0, 0]], dtype=np.uint8))
    assert scene_of(grid, mode).n == count


def test_properties_of_a_ring() -> None:
    scene = scene_of(RING)
    wanted = {"color": 3, "area": 8, "height": 3, "width": 3, "top": 1, "left": 1, "bottom": 0,
              "right": 0, "holes": 1, "hole_area": 1, "sym_lr": 1, "sym_ud": 1, "sym_diag": 1,
              "borders": 2, "full": 0, "square": 1, "missing": 1, "count": 1,
              "edges": 16}  # fmt: skip
    assert {name: int(scene.column(name)[0]) for name in wanted} == wanted


def test_ends_turns_and_the_distance_from_the_middle() -> None:
    grid = np.zeros((6, 9), dtype=np.uint8)
    grid[0:4, 0], grid[3, 0:3] = 1, 1  # an L
    grid[2:5, 4], grid[2:5, 6], grid[4, 4:7] = 2, 2, 2  # a U
    scene = scene_of(freeze(grid))
    assert scene.column("tips").tolist() == [2, 2]
    assert scene.column("turns").tolist() == [1, 2]
    assert scene.column("central").tolist() == [8, 3]


def test_relations_between_objects() -> None:
    grid = np.zeros((6, 6), dtype=np.uint8)
    grid[0:4, 0:4] = 4
    grid[1:3, 1:3] = 0
    grid[1, 1] = 7
    grid[5, 5] = 7
    scene = scene_of(freeze(grid), "one color, 4 ways")
    assert scene.column("contains").tolist() == [1, 0, 0]
    assert scene.column("inside").tolist() == [0, 1, 0]
    assert scene.column("touch_color").tolist() == [7, 4, -1]
    assert scene.column("same_color").tolist() == [1, 2, 2]
    assert scene.column("inner_color").tolist() == [7, -1, -1]


def test_shape_hashes_follow_turns() -> None:
    grid = np.zeros((5, 9), dtype=np.uint8)
    shape = np.array([[1, 1, 1], [1, 0, 0]], dtype=np.uint8)
    grid[0:2, 0:3] = shape
    grid[0:3, 5:7] = turn(shape, 1)
    grid[3:5, 0:3] = 2 * shape
    scene = scene_of(freeze(grid))
    by_color = scene.column("color").tolist()
    assert by_color == [1, 1, 2]
    assert scene.column("same_shape").tolist() == [2, 1, 2]
    assert scene.column("same_d8").tolist() == [3, 3, 3]
    assert scene.column("same_look").tolist() == [1, 1, 1]


def test_background_by_count() -> None:
    grid = freeze(np.array([[5, 5, 0]], dtype=np.uint8))
    assert (background(grid, "0"), background(grid, "most")) == (0, 5)


def test_too_many_objects_make_no_scene() -> None:
    grid = np.zeros((30, 30), dtype=np.uint8)
    grid[::2, ::2] = 1
    assert segment(freeze(grid), "one color, 4 ways") is None


@given(small_grids, st.sampled_from([*MODES, *PART_MODES]), st.sampled_from(["0", "most"]))
def test_every_region_reference_and_paint_is_well_formed(grid: Grid, mode: str, how: str) -> None:
    scene = scene_of(grid, mode, how)
    assert scene.features.shape == (scene.n, len(FEATURES))
    assert scene.column("area").tolist() == scene.masks.sum((1, 2)).tolist()
    for name in ALL_REGIONS:
        assert region(scene, name).shape == (scene.n, *grid.shape)
    for name in REFS:
        colors = color_ref(scene, name)
        assert colors.shape == (scene.n,)
        assert ((colors >= -1) & (colors < 10)).all()
    for action in ACTIONS:
        cells = paint(scene, action)
        assert cells.shape == (scene.n, *grid.shape)
        assert ((cells >= -1) & (cells <= 10)).all()


@given(small_grids, st.integers(0, 7))
def test_sizes_and_holes_do_not_depend_on_the_view(grid: Grid, d8: int) -> None:
    plain, turned = scene_of(grid), scene_of(freeze(turn(grid, d8)))
    for name in ("area", "holes", "shape_d8", "sym_any", "longest"):
        assert sorted(plain.column(name).tolist()) == sorted(turned.column(name).tolist())


def test_regions_of_a_ring() -> None:
    scene = scene_of(RING)
    assert np.argwhere(region(scene, "holes")[0]).tolist() == [[2, 2]]
    assert region(scene, "frame")[0].sum() == 7
    assert region(scene, "ray stop up")[0].tolist()[0] == [False, True, True, True]
    assert not region(scene, "ray hit left right").any()


def test_rays_between_equal_colours() -> None:
    grid = freeze(np.array([[1, 0, 0, 1, 0, 2]], dtype=np.uint8))
    scene = scene_of(grid)
    link = region(scene, "ray same left right").any(0)
    assert link.tolist() == [[False, True, True, False, False, False]]
    other = region(scene, "ray other left right").any(0)
    assert other.tolist() == [[False, False, False, False, True, False]]


def test_every_verb_is_tried_here() -> None:
    assert {action[0] for action in ACTIONS} == set(VERBS)


def test_paints_do_what_they_say() -> None:
    scene = scene_of(TWO)
    after = draw(scene, [("keep",), ("fall", "left")], np.array([0, 1]))
    assert after.tolist() == [[1, 0, 0, 0], [0, 1, 2, 0], [0, 0, 2, 0]]
    after = draw(scene, [("turn", "left-right"), ("move", -1, -1)], np.array([0, 1]))
    assert after.tolist() == [[0, 1, 2, 0], [1, 0, 2, 0], [0, 0, 0, 0]]
    after = draw(scene, [("mirror", "right", 0), ("paint", "self", "nearest")], np.array([0, 1]))
    assert after.tolist() == [[1, 0, 0, 1], [0, 1, 1, 1], [0, 0, 0, 1]]


def test_objects_fall_onto_one_another() -> None:
    grid = freeze(np.array([[1, 0], [2, 0], [0, 0], [3, 4]], dtype=np.uint8))
    scene = scene_of(grid)
    after = draw(scene, [("fall", "down")], np.zeros(4, dtype=np.int64))
    assert after.tolist() == [[0, 0], [1, 0], [2, 0], [3, 4]]


def test_stamps_are_what_all_instances_agree_on() -> None:
    before, after = np.zeros((8, 8), dtype=np.uint8), np.zeros((8, 8), dtype=np.uint8)
    for r, c in ((1, 1), (5, 4)):
        before[r, c] = after[r, c] = 2
        after[r - 1, c] = after[r + 1, c] = 6
    scene = scene_of(freeze(before))
    found = [action for action, _ in stamps([scene], [freeze(after)])]
    assert ("stamp", ((6,), (-1,), (6,)), -1, 0) in found


def test_scenes_are_kept_for_equal_grids() -> None:
    objects.prepare()
    assert segment(TWO, "one color, 8 ways") is segment(TWO.copy(), "one color, 8 ways")
