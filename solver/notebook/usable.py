"""The usable engines and devices that the preflight found: a run's options and environment."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from solver.data.jsonio import atomic_write, load_json
from solver.engines import ENGINES, TAKE_A_MODEL
from solver.kit import IMPORTABLE

SYNTH = "synth"


@dataclass(frozen=True)
class Usable:
    """The means that the run can use, as the checks found.

    engines: names of engines; empty for the engines of the profile.
    visible: the GPUs that work, as in `CUDA_VISIBLE_DEVICES`; None where the driver names none.
    devices: number of these GPUs that get a separate process; None for the profile's number.
    model: the folder of the language model.
    problems: the things that are left out, with reasons.
    """

    challenges: str = ""
    engines: tuple[str, ...] = ()
    workers: int | None = None
    visible: tuple[str, ...] | None = None
    devices: int | None = None
    model: str = ""
    problems: tuple[str, ...] = ()

    def without(self, dropped: Collection[str], engines: Sequence[str]) -> Usable:
        """The plan with the rest of `engines`; with the synthesizer if no engine is left."""
        kept = tuple(engine for engine in engines if engine not in dropped) or (SYNTH,)
        model = self.model if set(kept) & set(TAKE_A_MODEL) else ""
        return replace(self, engines=kept, model=model)

    def options(self) -> list[str]:
        """The options for `python -m solver`."""
        return [
            *(["--engines", ",".join(self.engines)] if self.engines else []),
            *(["--workers", str(self.workers)] if self.workers else []),
            *(["--devices", str(self.devices)] if self.devices else []),
            *(["--model", self.model] if self.model else []),
        ]

    def environment(self) -> dict[str, str]:
        """The environment of the run's process: the kit, and the GPUs that work."""
        if self.visible is None:
            return dict(IMPORTABLE)
        return {**IMPORTABLE, "CUDA_VISIBLE_DEVICES": ",".join(self.visible)}

    def write(self, path: Path) -> None:
        atomic_write(path, json.dumps(asdict(self)))


def read_usable(path: Path) -> Usable:
    """The plan of a preflight, as far as the checks had come. Raises `DataError`."""
    value: dict[str, Any] = load_json(path)
    lists = {k: tuple(v) for k, v in value.items() if isinstance(v, list)}
    return Usable(**value | lists)


def needs_model(engine: str) -> bool:
    """True for an engine that loads a model."""
    return ENGINES.get(engine, engine).startswith("solver.lm.")
