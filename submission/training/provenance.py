"""The provenance of a bundled model, and the figures of the model's card."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path

from solver.data.jsonio import load_json
from solver.deadline import format_duration
from solver.grid import DataError
from solver.lm.pair.model import PROVENANCE
from submission.owned import write_output

_TABLE = re.compile(r"(<!-- figures -->\n).*?(<!-- /figures -->)", re.DOTALL)


@dataclass(frozen=True)
class Provenance:
    """The provenance of a bundled model: its size, data, training and losses.

    Losses are in nats an output token.
    held_out_exact: fraction of held-out outputs whose every token is right.
    flops: 6 * parameters * tokens.
    """

    parameters: int
    width: int
    layers: int
    quantization: str
    bytes: int
    sha256: str
    sources: list[str]
    tasks: int
    pairs: int
    generated_pairs: int
    made_up_tasks: int
    made_up_pairs: int
    held_out_tasks: int
    data: str
    seed: int
    steps: int
    tokens: int
    flops: int
    seconds: float
    processes: int
    device: str
    held_out_loss: float
    held_out_exact: float
    unknown_task_loss: float
    unknown_task_loss_quantized: float
    versions: dict[str, str]


def write(folder: Path, provenance: Provenance) -> None:
    """Write the provenance into the folder of the weights."""
    text = json.dumps(asdict(provenance), indent=2)
    (folder / PROVENANCE).write_text(text + "\n", "utf-8")


def read(folder: Path) -> Provenance:
    """The provenance in a model's folder.

    Raises `DataError` if the file is missing or contains something else.
    """
    try:
        return Provenance(**load_json(folder / PROVENANCE))
    except TypeError:
        raise DataError(f"{folder / PROVENANCE}: no provenance of a bundled model") from None


def figures(of: Provenance) -> str:
    """The table of a model card, as Markdown."""
    versions = ", ".join(f"{name} {version}" for name, version in of.versions.items())
    rows = {
        "parameters": f"{of.parameters:,} (width {of.width}, {of.layers} layers)",
        "weights": f"{of.bytes / 1e6:.1f} MB, {of.quantization}",
        "data": f"{of.tasks} tasks: {of.pairs:,} pairs of their own, {of.generated_pairs:,} "
        f"generated; {', '.join(of.sources)}",
        "made up": f"{of.made_up_tasks:,} tasks: {of.made_up_pairs:,} pairs",
        "held out": f"{of.held_out_tasks} tasks",
        "training": f"{of.steps:,} steps, {of.tokens:,} tokens, seed {of.seed}",
        "compute": f"{of.flops:.2e} FLOP (6 x parameters x tokens)",
        "wall time": f"{format_duration(of.seconds)}, {of.device}, processes: {of.processes}",
        "held-out pairs": f"loss {of.held_out_loss:.4f} nats a token, "
        f"{of.held_out_exact:.1%} exact",
        "the same pairs, tasks unknown": f"loss {of.unknown_task_loss:.4f}, "
        f"quantized {of.unknown_task_loss_quantized:.4f}",
        "made with": versions,
    }
    lines = ["| what | figure |", "|---|---|", *(f"| {k} | {v} |" for k, v in rows.items())]
    return "\n".join(lines) + "\n"


def update_card(card: Path, of: Provenance) -> None:
    """Put the figures between the marks of a card.

    Raises `DataError` if the card cannot be read or written, or has no such marks.
    """
    text = marked_text(card)
    write_output(card, _TABLE.sub(lambda marks: marks[1] + figures(of) + marks[2], text))


def marked_text(card: Path) -> str:
    """The text of a card.

    Raises `DataError` if the card cannot be read, or has no single pair of marks for figures.
    """
    try:
        text = card.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{card}: cannot be read: {error}") from None
    if len(_TABLE.findall(text)) != 1:
        raise DataError(f"{card}: has no <!-- figures --> ... <!-- /figures -->")
    return text
