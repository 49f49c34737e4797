"""The folders of Kaggle's inputs: every known layout, tried in order.

A source has Kaggle's own name with its kind before the name: `competitions/SLUG`,
`datasets/OWNER/SLUG`, `models/OWNER/MODEL/FRAMEWORK/VARIATION/VERSION`,
`notebooks/OWNER/SLUG`; `*` matches any owner. Sessions mount a source at the whole name, or at the
name without kind and owner. A source in neither place is searched for by a file that only this
source contains.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from solver.grid import DataError

INPUT = Path("/kaggle/input")
CHALLENGES = "arc-agi_test_challenges.json"
# The number of parts of a source's name, and the number of parts that the older layout leaves out.
KINDS = {"competitions": (2, 1), "datasets": (3, 2), "models": (6, 2), "notebooks": (3, 2)}
_PART = re.compile(r"\*|\w[\w.-]*")


@dataclass(frozen=True)
class Mount:
    """The place of a source, the layout that found it, and other places of the same source."""

    path: Path
    layout: str
    others: tuple[Path, ...] = ()

    def __str__(self) -> str:
        also = f"; also at {', '.join(map(str, self.others))}" if self.others else ""
        return f"{self.path} ({self.layout}){also}"


def find(source: str, marker: str, root: Path = INPUT) -> Mount | None:
    """The folder of `source`, or a folder below it, that contains a file `marker` (a glob).

    Of several folders, the first in the order of the layouts is taken and the others are named.
    None if there is no such folder. Raises `DataError` for a name that is no source.
    """
    found: dict[Path, str] = {}
    for layout, pattern in _layouts(source):
        for folder in sorted(root.glob(pattern)):
            for place in _holding(folder, marker):
                found.setdefault(place, layout)
    slug = PurePosixPath(source).parts[-1]
    for place in sorted(_holding(root, marker), key=lambda p: (slug not in p.parts, p)):
        found.setdefault(place, f"search for {marker}")
    if not found:
        return None
    (path, layout), *others = found.items()
    return Mount(path, layout, tuple(place for place, _ in others))


def check_source(source: str) -> None:
    """Raise `DataError` unless `source` has the form of a source's name."""
    parts = PurePosixPath(source).parts
    length, _ = KINDS.get(parts[0] if parts else "", (0, 0))
    if not parts or len(parts) != length or not all(map(_PART.fullmatch, parts)):
        forms = "competitions/SLUG, datasets/OWNER/SLUG, models/OWNER/MODEL/FRAMEWORK/VARIATION/N"
        raise DataError(f"{source!r}: no name of a Kaggle source: {forms}, notebooks/OWNER/SLUG")


def _layouts(source: str) -> Iterator[tuple[str, str]]:
    """Name and glob of each layout."""
    check_source(source)
    parts = PurePosixPath(source).parts
    _, dropped = KINDS[parts[0]]
    yield "by its whole name", "/".join(parts)
    yield "by its short name", "/".join(parts[dropped:])


def _holding(folder: Path, marker: str) -> list[Path]:
    """The folders at or below `folder` that contain the file, the nearest first."""
    places = {file.parent for file in folder.rglob(marker)}
    return sorted(places, key=lambda place: (len(place.parts), place))
