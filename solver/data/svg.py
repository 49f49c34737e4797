"""Grids as SVG, in the colours of the ARC viewer."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from solver.grid import Grid

# Black, blue, red, green, yellow, grey, magenta, orange, sky, maroon.
PALETTE = (
    "#000000", "#1e93ff", "#f93c31", "#4fcc30", "#ffdc00",
    "#999999", "#e53aa3", "#ff851b", "#87d8f1", "#921231",
)  # fmt: skip

CELL = 14
GAP = 24
LINE = 16
CHAR = 6.6  # width of a character of the captions


def grid_svg(grid: Grid, x: float, y: float, cell: int = CELL) -> str:
    """The grid's cells as squares with thin lines between them; the grid's corner is at (x, y)."""
    squares = "".join(
        f'<rect x="{x + c * cell:g}" y="{y + r * cell:g}" width="{cell}" height="{cell}" '
        f'fill="{PALETTE[color]}"/>'
        for r, row in enumerate(grid.tolist())
        for c, color in enumerate(row)
    )
    return f'<g stroke="#666666" stroke-width="0.5">{squares}</g>'


def strip_svg(title: str, rows: Sequence[Sequence[tuple[str, Grid]]], cell: int = CELL) -> str:
    """Rows of captioned grids under a title, as a whole SVG file; cells of `cell` pixels."""
    parts = [_text(0, LINE, title, bold=True)]
    y, width = LINE + GAP / 2, len(title) * CHAR
    for row in rows:
        x, height = 0.0, 0
        for caption, grid in row:
            parts += [_text(x, y + LINE, caption), grid_svg(grid, x, y + LINE + 6, cell)]
            x += max(grid.shape[1] * cell, len(caption) * CHAR) + GAP
            height = max(height, grid.shape[0] * cell)
        width = max(width, x - GAP)
        y += height + LINE + GAP
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="-8 -4 {width + 16:.0f} {y:.0f}" '
        f'width="{width + 16:.0f}" height="{y:.0f}" font-family="monospace" font-size="11">'
        f'<rect x="-8" y="-4" width="100%" height="100%" fill="#ffffff"/>{"".join(parts)}</svg>\n'
    )


def _text(x: float, y: float, text: str, bold: bool = False) -> str:
    weight = ' font-weight="bold"' if bold else ""
    return f'<text x="{x:g}" y="{y:g}"{weight}>{escape(text)}</text>'
