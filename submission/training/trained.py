"""The record that a training leaves beside the model that it exported."""

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
    """`about` is what a training must share to be the same one: size, mixture, seed, data.

    `seconds` are those until this model, all processes side by side; losses are nats a token.
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
    """Leave it beside the weights it is about."""
    (folder / TRAINED).write_text(json.dumps(asdict(trained), indent=2) + "\n", "utf-8")


def read(folder: Path) -> Trained:
    """Raises `DataError` where the file is missing or holds something else."""
    try:
        return Trained(**load_json(folder / TRAINED))
    except TypeError:
        raise DataError(f"{folder / TRAINED}: not written by a training") from None


def made_with() -> dict[str, str]:
    """Versions that decide the weights."""
    return {"python": platform.python_version(), **{n: version(n) for n in _MADE_WITH}}


def device_name(device: torch.device) -> str:
    """A device as a card names it."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
