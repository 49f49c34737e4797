"""Rays that objects point, rays that reach a goal, regions by an object's size, and sights."""

from __future__ import annotations

import numpy as np
import pytest

from solver.synth.objects.colors import color_ref
from solver.synth.objects.objects import Scene
from solver.synth.objects.regions import region
from tests.synth.drawn import scene_of


def cells_of(scene: Scene, name: str, i: int) -> list[tuple[int, int]]:
    return [(r, c) for r, c in np.argwhere(region(scene, name)[i]).tolist()]


def test_a_tip_goes_on_away_from_its_object() -> None:
    scene = scene_of("..... .11.. .11.. ...1. .....")
    assert cells_of(scene, "point tips", 0) == [(4, 4)]


def test_a_diagonal_leaves_at_the_corner_opposite_to_the_cells() -> None:
    scene = scene_of("..... ..... .7... .77.. .....")
    assert cells_of(scene, "point corner", 0) == [(0, 4), (1, 3)]


@pytest.mark.parametrize(("how", "cells"), [("out", [(1, 0)]), ("through", [(1, 4), (1, 5)])])
def test_odd_cells_leave_on_their_side_or_on_the_other(how: str, cells: list[object]) -> None:
    scene = scene_of(".22... .122.. .22...", "mixed, 8 ways")
    assert cells_of(scene, f"point minor {how}", 0) == cells


def test_a_gap_in_a_side_leaks() -> None:
    assert cells_of(scene_of("5555 5..5 5..5 55.5 ...."), "point leak", 0) == [(3, 2), (4, 2)]
    assert cells_of(scene_of("5555 5..5 5..5 5..5 ...."), "point leak", 0) == []  # an open side


def test_rays_go_to_the_largest_object_or_away_from_it() -> None:
    scene = scene_of("1.... ..... ..... 55555 .....")
    assert cells_of(scene, "point toward", 0) == [(1, 0), (2, 0)]
    assert cells_of(scene_of("..... 1.... ..... 55555"), "point away", 0) == [(0, 0)]


def test_rays_land_on_an_object_and_reach_the_largest_alone() -> None:
    scene = scene_of("1..4. ..... 5.... 55...")
    assert cells_of(scene, "ray land up down", 0) == [(2, 0)]
    assert cells_of(scene, "ray goal up down left right", 0) == [(1, 0)]
    assert cells_of(scene, "ray goal up down left right", 1) == []


def test_bars_are_as_long_as_a_property_says() -> None:
    scene = scene_of(".43.. .34.. ..... ..... .....", "mixed, 8 ways")
    assert cells_of(scene, "bar down colors", 0) == [(2, 1), (2, 2), (3, 1), (3, 2)]


def test_halo_and_arms_follow_the_size_of_the_box() -> None:
    scene = scene_of("...... ...... ..22.. ..22.. ...... ......")
    assert len(cells_of(scene, "halo", 0)) == 12
    assert cells_of(scene, "arms", 0) == []
    ring = scene_of("..... .444. .4.4. .444. .....")
    assert set(cells_of(ring, "arms", 0)) >= {(0, 1), (1, 0), (4, 3), (3, 4)}


def test_an_object_sees_the_colours_beside_it() -> None:
    scene = scene_of("2..3. ..... 5.5.1 .....")
    wanted = {"above": [-1, -1, 2, -1, -1], "rightward": [3, -1, 5, 1, -1]}
    for name, colors in wanted.items():
        assert color_ref(scene, name).tolist() == colors
