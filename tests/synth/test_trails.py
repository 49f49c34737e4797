"""Trails: pictures that objects repeat to the border."""

from __future__ import annotations

from solver.synth.objects.stamps import trails
from tests.synth.drawn import after, grid_of, scene_of


def test_a_trail_is_learned_from_two_objects_and_goes_on_to_the_border() -> None:
    before = [scene_of("....... .4..... ......."), scene_of("....... ....... ..8....")]
    outputs = [grid_of("....... .454545 ......."), grid_of("....... ....... ..85858")]
    action = ("trail", ((0, 1, 5), (0, 2, 10)), 0, 2)
    assert action in [found for found, _ in trails(before, outputs)]
    assert after(scene_of("3........"), *action) == ["353535353"]


def test_no_trail_without_agreement() -> None:
    before = [scene_of("4......"), scene_of("8......")]
    outputs = [grid_of("45.5.5."), grid_of("8......")]
    assert trails(before, outputs) == []
