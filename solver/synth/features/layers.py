"""Cell features of layers: grids of the same shape that lie over each other."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from solver.synth.features.neighbours import OUT
from solver.synth.features.table import INDEX, Features

LAYERS = 9  # layers whose colours a rule sees


def fill_layers(table: Features, layers: NDArray[np.uint8]) -> Features:
    """Fill the layer rows of a table (F, h * w) from layers (n, h, w); returns the table."""
    flat = layers.reshape(len(layers), -1)
    filled = flat != 0
    first = np.where(filled.any(axis=0), _pick(flat, filled.argmax(axis=0)), OUT)
    last = np.where(filled.any(axis=0), _pick(flat[::-1], filled[::-1].argmax(axis=0)), OUT)
    at = INDEX["layer_0"]
    for i in range(min(len(flat), LAYERS)):
        table[at + i] = flat[i]
    table[INDEX["layers_filled"]] = np.minimum(filled.sum(axis=0), 255)
    table[INDEX["layer_first"]] = first
    table[INDEX["layer_last"]] = last
    counts = np.array([(flat == c).sum(axis=0) for c in range(10)])
    table[INDEX["layer_most"]] = counts.argmax(axis=0)
    counts[0] = 0
    table[INDEX["layer_color"]] = np.where(counts.max(axis=0) > 0, counts.argmax(axis=0), OUT)
    order = np.argsort(filled.sum(axis=1), kind="stable")
    table[INDEX["layer_fullest"]] = flat[order[-1]]
    table[INDEX["layer_emptiest"]] = flat[order[0]]
    same = (layers[:, None] == layers[None]).all(axis=(2, 3)).sum(axis=1)
    table[INDEX["layer_odd"]] = flat[int(same.argmin())]
    table[INDEX["layer_usual"]] = flat[int(same.argmax())]
    return table


def _pick(flat: NDArray[np.uint8], rows: NDArray[np.int64]) -> NDArray[np.uint8]:
    picked: NDArray[np.uint8] = flat[rows, np.arange(flat.shape[1])]
    return picked
