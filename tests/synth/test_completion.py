"""Completion: tilings, mirror images, masked patches, continued patterns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from solver.deadline import CpuClock, Deadline, FakeClock
from solver.grid import Grid, Pair, Task, freeze, same
from solver.synth import fit as rule_fit
from solver.synth.interpret import run
from solver.synth.patterns import completion
from solver.synth.patterns.completion import UNKNOWN, complete
from solver.synth.program import Call, parse

Cells = NDArray[Any]

RNG = np.random.default_rng(5)
grids = arrays(np.uint8, st.tuples(st.integers(1, 8), st.integers(1, 8)),
               elements=st.integers(0, 3)).map(freeze)  # fmt: skip


def tiling(h: int, w: int, p: int = 3, q: int = 4) -> Cells:
    tile = RNG.integers(1, 9, (p, q)).astype(np.uint8)
    return np.tile(tile, (h // p + 1, w // q + 1))[:h, :w]


def mirrored(n: int) -> Cells:
    quarter = RNG.integers(1, 9, (n, n)).astype(np.uint8)
    half = np.concatenate([quarter, quarter[:, ::-1]], axis=1)
    return np.concatenate([half, half[::-1]])


def punch(full: Cells, top: int, left: int, h: int, w: int, color: int = 0) -> Cells:
    grid = full.copy()
    grid[top : top + h, left : left + w] = color
    return grid


def check(pairs: Sequence[tuple[Cells, Cells]]) -> Call:
    frozen = [Pair(freeze(a), freeze(b)) for a, b in pairs]
    task = Task("t", tuple(frozen[:-1]), (frozen[-1].input,))
    found = [s for s in completion.search(task, Deadline.after(60, CpuClock())) if s is not None]
    assert found
    solution = min(found, key=lambda s: s.cost)
    assert same(solution.outputs[0], frozen[-1].output)
    assert parse(str(solution.program)) == solution.program
    for pair in task.train:
        again = run(solution.program, pair.input, {**completion.OPS, **rule_fit.OPS})
        assert again is not None
        assert same(again, pair.output)
    return solution.program


def test_tiling_with_a_hole() -> None:
    fulls = [tiling(12, 13) for _ in range(4)]
    assert check([(punch(f, k, 2 * k, 4, 3), f) for k, f in enumerate(fulls)]).name == "repair"


def test_mirror_symmetry_with_a_hole() -> None:
    fulls = [mirrored(6) for _ in range(4)]
    assert check([(punch(f, 1, 2 + k, 3, 3), f) for k, f in enumerate(fulls)]).name == "repair"


def test_only_the_masked_patch_is_asked_for() -> None:
    fulls = [mirrored(6) for _ in range(4)]
    pairs = [(punch(f, 2, 1 + k, 2, 3, 9 if 9 not in f else 0), f[2:4, 1 + k : 4 + k])
             for k, f in enumerate(fulls)]  # fmt: skip
    assert check(pairs).name == "patch"


def test_pattern_goes_on_in_a_larger_grid() -> None:
    fulls = [tiling(12, 6, 2, 6) for _ in range(4)]
    assert check([(f[:6], f[:9]) for f in fulls]).name == "continued"


def test_noise_is_outvoted() -> None:
    pairs = []
    for _ in range(4):
        full = tiling(12, 12, 2, 3)
        noisy = full.copy()
        noisy[tuple(RNG.integers(0, 12, (2, 5)))] = 0
        pairs.append((noisy, full))
    check(pairs)


@pytest.mark.parametrize("kind", ["tile", "mirror", "row", "column", "diagonal", "loose"])
def test_known_cells_never_change(kind: str) -> None:
    full = tiling(9, 9)
    cells = punch(full, 2, 2, 3, 3, UNKNOWN)
    made = complete(cells, kind)
    assert made is None or (made[cells != UNKNOWN] == cells[cells != UNKNOWN]).all()


def test_the_true_period_is_found_for_any_hole() -> None:
    full = tiling(12, 12, 3, 4)
    for top in range(0, 7, 2):
        cells = punch(full, top, 3, 5, 6, UNKNOWN)
        made = complete(cells, "tile")
        assert made is not None
        assert (made == full).all()


ARGUMENTS: dict[str, tuple[Any, ...]] = {
    "repair": ("0", "tile mirror", 1), "patch": ("least", "mirror", 1),
    "continued": ("plus", 2, 1, "0", "tile", "middle"), "regular": ("most", "lattice"),
}  # fmt: skip


@given(grids, st.sampled_from(sorted(ARGUMENTS)))
def test_operations_never_raise(grid: Grid, name: str) -> None:
    assert ARGUMENTS.keys() == completion.OPS.keys()
    made = completion.OPS[name].function(grid, *ARGUMENTS[name])
    assert made is None or (made.ndim == 2 and made.max() < 10)


def test_stripes_are_cleaned_along_the_better_axis() -> None:
    rows = np.repeat(np.array([[1], [2], [3], [4]], dtype=np.uint8), 6, axis=1)
    noisy = rows.copy()
    noisy[1, 3] = 7
    for cells, clean in ((noisy, rows), (noisy.T, rows.T)):
        made = completion.regular(freeze(cells), "", "stripes")
        assert made is not None
        assert same(made, clean)


def test_no_time_no_answer() -> None:
    full = freeze(tiling(8, 8))
    task = Task("t", (Pair(full, full),), (full,))
    assert list(completion.search(task, Deadline(0.0, FakeClock(1.0)))) == []
