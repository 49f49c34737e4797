"""Objects that move by other cells: goals, mirrors, holes, frames, lines."""

from __future__ import annotations

from tests.synth.drawn import after, scene_of


def test_objects_slide_to_their_own_colour_and_others_vanish() -> None:
    scene = scene_of("4..3.. 4....1 4.4..1 4.....")
    moved = after(scene, "slide", "own", "own", "vanish")
    assert moved == ["4.....", "4....1", "44...1", "4....."]
    assert after(scene, "slide", "own", "own", "stay")[0] == "4..3.."


def test_sliding_objects_pile_up_and_may_take_the_goals_colour() -> None:
    scene = scene_of("55..3.3 55.....")
    assert after(scene, "slide", "5", "goal", "stay") == ["5555...", "55....."]


def test_an_object_is_mirrored_about_the_long_side_of_a_mirror() -> None:
    scene = scene_of("..5.. ..... 22222 2...2 .....")
    assert after(scene, "reflect", "2") == [".....", ".....", "22222", "2...2", "..5.."]


def test_an_echo_repeats_the_largest_object_where_a_part_shows() -> None:
    scene = scene_of("888.3....... 8.8......... 888.........")
    assert after(scene, "echo") == ["888.333.333.", "8.8.3.3.3.3.", "888.333.333."]


def test_an_object_fits_into_the_one_hole_of_its_shape() -> None:
    assert after(scene_of("5555.. 5.55.. 5.55.6 5555.6"), "fit") == [
        "5555..", "5655..", "5655..", "5555..",
    ]  # fmt: skip
    two = "5555.. 5.55.6 5555.. 5.5566"
    assert after(scene_of(two), "fit") == two.split()  # a hole of no such shape


def test_an_object_moves_into_the_middle_of_a_frame() -> None:
    scene = scene_of("3...3 .1... ..... ..... 3...3")
    assert after(scene, "centre", "3") == ["3...3", ".....", "..1..", ".....", "3...3"]


def test_objects_move_into_line() -> None:
    scene = scene_of("2... ...1 ..3.")
    assert after(scene, "align", "rows", "1") == ["....", "2.31", "...."]
    assert after(scene, "align", "columns", "9") == ["2...", "...1", "..3."]
