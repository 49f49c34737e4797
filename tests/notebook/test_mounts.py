"""Every layout of Kaggle's input folder, two at once, and none."""

from __future__ import annotations

from pathlib import Path

import pytest

from solver.grid import DataError
from solver.notebook.mounts import CHALLENGES, find

SOURCES = {
    "competitions/arc-prize-2026": ("competitions/arc-prize-2026", "arc-prize-2026"),
    "datasets/ann/arc-wheels": ("datasets/ann/arc-wheels", "arc-wheels"),
    "models/qwen/qwen3/transformers/4b/1": (
        "models/qwen/qwen3/transformers/4b/1",
        "qwen3/transformers/4b/1",
    ),
    "notebooks/ann/prepare": ("notebooks/ann/prepare", "prepare"),
}
LAYOUTS = [(source, place) for source, places in SOURCES.items() for place in places]


def put(root: Path, place: str, marker: str = "marker.json") -> Path:
    folder = root / place
    folder.mkdir(parents=True)
    (folder / marker).write_text("{}")
    return folder


@pytest.mark.parametrize(("source", "place"), LAYOUTS)
def test_every_layout_resolves(source: str, place: str, tmp_path: Path) -> None:
    folder = put(tmp_path, place)
    mount = find(source, "marker.json", tmp_path)
    assert mount
    assert (mount.path, mount.others) == (folder, ())
    assert mount.layout == ("by its whole name" if place == source else "by its short name")
    assert str(mount) == f"{folder} ({mount.layout})"


@pytest.mark.parametrize("source", SOURCES)
def test_what_lies_elsewhere_is_searched_for(source: str, tmp_path: Path) -> None:
    folder = put(tmp_path, "mnt/new/layout/of/2027")
    mount = find(source, "marker.json", tmp_path)
    assert mount
    assert (mount.path, mount.layout) == (folder, "search for marker.json")


@pytest.mark.parametrize("source", SOURCES)
def test_of_two_mounts_the_whole_name_is_taken_and_the_other_said(
    source: str, tmp_path: Path
) -> None:
    whole, short = (put(tmp_path, place) for place in SOURCES[source])
    mount = find(source, "marker.json", tmp_path)
    assert mount
    assert (mount.path, mount.others) == (whole, (short,))
    assert str(mount).endswith(f"; also at {short}")


def test_a_search_prefers_the_right_name(tmp_path: Path) -> None:
    put(tmp_path, "a/another-competition", CHALLENGES)
    right = put(tmp_path, "z/z/arc-prize-2026", CHALLENGES)
    mount = find("competitions/arc-prize-2026", CHALLENGES, tmp_path)
    assert mount
    assert mount.path == right


def test_an_empty_folder_of_the_right_name_does_not_count(tmp_path: Path) -> None:
    (tmp_path / "competitions/arc-prize-2026").mkdir(parents=True)
    folder = put(tmp_path, "arc-prize-2026", CHALLENGES)
    mount = find("competitions/arc-prize-2026", CHALLENGES, tmp_path)
    assert mount
    assert mount.path == folder


def test_an_open_owner_and_a_folder_inside(tmp_path: Path) -> None:
    folder = put(tmp_path, "datasets/bob/arc-wheels/wheels", "some-1.0-py3-none-any.whl")
    mount = find("datasets/*/arc-wheels", "*.whl", tmp_path)
    assert mount
    assert (mount.path, mount.layout) == (folder, "by its whole name")


def test_nothing_is_none(tmp_path: Path) -> None:
    assert find("datasets/ann/arc-wheels", "*.whl", tmp_path) is None
    assert find("datasets/ann/arc-wheels", "*.whl", tmp_path / "missing") is None


@pytest.mark.parametrize(
    "source", ["", "arc-prize", "datasets/arc", "competitions/a/b", "datasets/../arc", "models/a/b"]
)
def test_no_name_of_a_source(source: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no name of a Kaggle source"):
        find(source, "marker.json", tmp_path)
