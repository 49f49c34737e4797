"""The record of a training, in the folder of the exported model."""

from __future__ import annotations

import json
import platform
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from solver.data.jsonio import load_json
from solver.grid import DataError

TRAINED = "training.json"
_MADE_WITH = ("torch", "transformers")


@dataclass(frozen=True)
class Trained:
    """The record of a training.

    about: size, mixture, seed and data, and the earlier training of the first model.
    steps, tokens, seconds: totals until this model, including the earlier training. The seconds
    are wall-clock time of all processes in parallel.
    held_out: the held-out loss, in nats an output token.
    exact: fraction of held-out outputs whose every token is right.
    """

    about: dict[str, Any]
    steps: int
    tokens: int
    seconds: float
    processes: int
    device: str
    held_out: float
    exact: float
    versions: dict[str, str]


def write(folder: Path, trained: Trained) -> None:
    """Write the record into the folder of the weights."""
    (folder / TRAINED).write_text(json.dumps(asdict(trained), indent=2) + "\n", "utf-8")


def read(folder: Path) -> Trained:
    """The record in a model's folder.

    Raises `DataError` if the file is missing or contains something else.
    """
    try:
        return Trained(**load_json(folder / TRAINED))
    except TypeError:
        raise DataError(f"{folder / TRAINED}: not written by a training") from None


def made_with() -> dict[str, str]:
    """Versions of software that can change the weights."""
    return {"python": platform.python_version(), **{n: version(n) for n in _MADE_WITH}}


def device_name(device: torch.device) -> str:
    """The name of a device for the model card."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
