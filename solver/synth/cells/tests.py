"""The tests that a cell rule may use, each answered for all cells of a task at once.

A test compares a feature with a number (`==`, `<=`) or two features with each other. The
answers are a bit vector over the cells of every demonstration and test input. Each grid starts
at a new 64-bit word, so that consecutive grids are a range of words. Of tests with the same or
opposite answers everywhere, only the cheapest is kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from solver.synth.features.table import FEATURES, INDEX, Features
from solver.synth.jit import kernel

Bits = NDArray[np.uint64]
Test = tuple[str, str, "str | int"]  # (feature, "==" or "<=", number or feature)

_EQUAL, _AT_MOST, _SAME, _LESS = 0, 1, 2, 3
_COLOR_ROWS = np.array([f.color for f in FEATURES])
_BITS = np.array([f.bits for f in FEATURES])
_CONSTANT_BITS = 2.0  # a choice of one of the few colours of a task
MAX_VALUES = 12  # of more values of a number feature, only the extremes are tested


def _pairs() -> list[tuple[int, int, float]]:
    colors = [i for i, f in enumerate(FEATURES) if f.color]
    pairs = [(a, b, _pair_bits(a, b)) for a in colors for b in colors if a < b]
    for left, right in _NUMBER_PAIRS:
        a, b = INDEX[left], INDEX[right]
        pairs.append((a, b, 0.6 * (_BITS[a] + _BITS[b]) + 1.0))
    return [pair for pair in pairs if pair[2] < np.inf]


def _pair_bits(a: int, b: int) -> float:
    """Bits of a comparison of two colour features; infinite if the pair makes little sense."""
    if a == INDEX["self"]:
        return float(_BITS[b] + 0.5)
    family, other = FEATURES[a].family, FEATURES[b].family
    alike = family == other and family in ("local", "rays", "pattern")
    whole = other == "global" and _BITS[b] < 4
    return float(0.75 * (_BITS[a] + _BITS[b]) + 1.0) if alike or whole else float("inf")


_NUMBER_PAIRS = (
    ("part_row", "part_column"), ("part_row", "in_row"), ("part_column", "in_column"),
    ("in_row", "in_column"), ("copy_row", "copy_column"), ("row_filled", "column"),
    ("column_filled", "row_end"), ("column_filled", "row"), ("row_filled", "column_end"),
    ("x8_from_top", "x8_from_bottom"), ("x8_from_left", "x8_from_right"),
    ("next_height", "next_width"), ("block_filled", "block_same"),
    ("row", "column"), ("row", "column_end"), ("row", "row_end"), ("column", "column_end"),
    ("distance_n", "distance_s"), ("distance_w", "distance_e"), ("distance_n", "distance_w"),
    ("row_filled", "column_filled"), ("c8_height", "c8_width"), ("c4_height", "c4_width"),
    ("boxed_from_top", "boxed_from_left"), ("boxed_from_top", "boxed_from_bottom"),
    ("boxed_from_left", "boxed_from_right"), ("boxed_from_top", "boxed_from_right"),
    ("c8_from_top", "c8_from_left"), ("c8_from_top", "c8_from_right"),
    ("c8_from_top", "c8_from_bottom"), ("c8_from_left", "c8_from_right"),
)  # fmt: skip
_PAIRS = _pairs()


@dataclass(frozen=True, eq=False)
class Cells:
    """All cells of a task, demonstrations first.

    table: features (F, 64 * words), each grid padded by zeros to whole words.
    starts: the first word of each grid; `starts[-1]` is the number of words.
    sizes: the number of cells of each grid.
    demos: the number of demonstrations.
    valid: the bits of cells that exist, (words,).
    """

    table: Features
    starts: tuple[int, ...]
    sizes: tuple[int, ...]
    demos: int
    valid: Bits

    def grid(self, i: int) -> slice:
        """The columns of `table` with the cells of grid i."""
        return slice(64 * self.starts[i], 64 * self.starts[i] + self.sizes[i])

    @property
    def train_words(self) -> int:
        """The number of words that belong to demonstrations."""
        return self.starts[self.demos]


def gather(tables: Sequence[Features], demos: int) -> Cells:
    """Join the feature tables (F, H * W) of a task's grids, `demos` demonstrations first."""
    sizes = tuple(table.shape[1] for table in tables)
    starts = [0]
    for size in sizes:
        starts.append(starts[-1] + (size + 63) // 64)
    joined = np.zeros((tables[0].shape[0], 64 * starts[-1]), dtype=np.uint8)
    exists = np.zeros((1, 64 * starts[-1]), dtype=np.uint8)
    for table, start, size in zip(tables, starts[:-1], sizes, strict=True):
        joined[:, 64 * start : 64 * start + size] = table
        exists[0, 64 * start : 64 * start + size] = 1
    valid = pack(exists)[0]
    return Cells(joined, tuple(starts), sizes, demos, valid)


@dataclass(frozen=True, eq=False)
class Tests:
    """T tests sorted by cost.

    kinds: codes of the comparisons, (T,).
    first: indices of the left features, (T,).
    second: indices of the right features, or numbers, (T,).
    costs: lengths of the tests in bits, (T,).
    bits: answers of the tests, (T, words).
    """

    kinds: NDArray[np.int64]
    first: NDArray[np.int64]
    second: NDArray[np.int64]
    costs: NDArray[np.float64]
    bits: Bits

    def name(self, t: int) -> Test:
        """The readable form of test t."""
        kind, a, b = int(self.kinds[t]), int(self.first[t]), int(self.second[t])
        left = FEATURES[a].name
        sign = "<=" if kind in (_AT_MOST, _LESS) else "=="
        return (left, sign, FEATURES[b].name if kind in (_SAME, _LESS) else b)


def enumerate_tests(cells: Cells) -> Tests:
    """All distinct tests of a task's cells that some training cell passes and some fails."""
    seen = _presence(cells.table, cells.starts[cells.demos] * 64, _mask(cells))
    rows = np.array(_single_tests(seen) + _pair_tests(seen), dtype=np.float64).reshape(-1, 4)
    rows = rows[np.argsort(rows[:, 3], kind="stable")]
    kinds, first, second = (np.ascontiguousarray(rows[:, k].astype(np.int64)) for k in range(3))
    bits = _answers(cells.table, cells.valid, kinds, first, second)
    keep = _distinct(bits, cells)
    return Tests(kinds[keep], first[keep], second[keep], rows[keep, 3], bits[keep])


def _single_tests(seen: NDArray[np.bool_]) -> list[tuple[int, int, int, float]]:
    tests: list[tuple[int, int, int, float]] = []
    for f, feature in enumerate(FEATURES):
        values = np.flatnonzero(seen[f]).tolist()
        if len(values) < 2:
            continue
        if feature.color:
            tests += [(_EQUAL, f, v, feature.bits + _CONSTANT_BITS) for v in values]
            continue
        lowest = values[:6]
        chosen = values if len(values) <= MAX_VALUES else lowest + values[-3:]
        for v in chosen:
            size = 0.5 * np.log2(1 + v)
            tests.append((_EQUAL, f, v, feature.bits + 0.5 + size))
            if v not in (values[0], values[-1]) and len(values) > 2:
                tests.append((_AT_MOST, f, v, feature.bits + 1.5 + size))
    return tests


def _pair_tests(seen: NDArray[np.bool_]) -> list[tuple[int, int, int, float]]:
    spread = seen.sum(axis=1)
    kept = [(a, b, bits) for a, b, bits in _PAIRS if spread[a] > 1 or spread[b] > 1]
    same: list[tuple[int, int, int, float]] = [(_SAME, a, b, bits) for a, b, bits in kept]
    less: list[tuple[int, int, int, float]] = []
    for a, b, bits in kept:
        if not FEATURES[a].color:
            less += [(_LESS, a, b, bits + 0.5), (_LESS, b, a, bits + 0.5)]
    return same + less


def _mask(cells: Cells) -> NDArray[np.bool_]:
    exists = np.zeros(cells.table.shape[1], dtype=np.bool_)
    for i in range(len(cells.sizes)):
        exists[cells.grid(i)] = True
    return exists


def _distinct(bits: Bits, cells: Cells) -> NDArray[np.int64]:
    words, valid = cells.train_words, cells.valid
    train = bits[:, :words]
    some = (train != 0).any(axis=1) & (train != valid[:words]).any(axis=1)
    flipped = (bits[:, :1] & np.uint64(1)).astype(np.bool_)
    canonical = np.where(flipped, bits ^ valid, bits)
    seen: set[bytes] = set()
    keep = []
    for t in np.flatnonzero(some).tolist():
        identity = canonical[t].tobytes()
        if identity not in seen:
            seen.add(identity)
            keep.append(t)
    return np.array(keep, dtype=np.int64)


@kernel
def pack(rows):
    """Pack rows of 0/1 (n, 64 * words) into bits (n, words), lowest bit first."""
    n, words = rows.shape[0], rows.shape[1] // 64
    bits = np.zeros((n, words), np.uint64)
    for i in range(n):
        for k in range(words):
            word = np.uint64(0)
            for b in range(64):
                if rows[i, 64 * k + b]:
                    word |= np.uint64(1) << np.uint64(b)
            bits[i, k] = word
    return bits


@kernel
def _presence(table, n, exists):
    seen = np.zeros((table.shape[0], 256), np.bool_)
    for f in range(table.shape[0]):
        for i in range(n):
            if exists[i]:
                seen[f, table[f, i]] = True
    return seen


@kernel
def _answers(table, valid, kinds, first, second):
    words = len(valid)
    bits = np.zeros((len(kinds), words), np.uint64)
    for t in range(len(kinds)):
        a = table[first[t]]
        for k in range(words):
            word = np.uint64(0)
            for b in range(64):
                v = a[64 * k + b]
                if kinds[t] == 0:
                    answer = v == second[t]
                elif kinds[t] == 1:
                    answer = v <= second[t]
                elif kinds[t] == 2:
                    answer = v == table[second[t], 64 * k + b]
                else:
                    answer = v <= table[second[t], 64 * k + b]
                word |= np.uint64(answer) << np.uint64(b)
            bits[t, k] = word & valid[k]
    return bits
