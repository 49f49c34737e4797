"""Objects completed to their best symmetry."""

from __future__ import annotations

from tests.synth.drawn import after, scene_of


def test_an_object_is_completed_about_the_centre_that_most_cells_confirm() -> None:
    scene = scene_of("3.8.. .2.2. 8.3.8 .2.2. ..8..", "mixed, 8 ways")
    assert after(scene, "symmetric", "all", "cells") == [
        "3.8.3", ".2.2.", "8.3.8", ".2.2.", "3.8.3",
    ]  # fmt: skip


def test_an_object_without_a_centre_stays() -> None:
    scene = scene_of("1.. .2. ..3", "mixed, 8 ways")
    assert after(scene, "symmetric", "half turn", "colors") == ["1..", ".2.", "..3"]
