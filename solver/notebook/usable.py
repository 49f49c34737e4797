"""The usable engines and devices, as the preflight found them: a run's options and environment."""

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
    """What the checks found the run can use.

    `engines` empty: those of the profile. `visible`: the GPUs that work, as
    `CUDA_VISIBLE_DEVICES` names them; None where the driver names none. `devices`: how many of
    them get a process of their own, None for as many as the profile says. `model`: the folder of
    the language model. `problems`: what is left out, and why.
    """

    challenges: str = ""
    engines: tuple[str, ...] = ()
    workers: int | None = None
    visible: tuple[str, ...] | None = None
    devices: int | None = None
    model: str = ""
    problems: tuple[str, ...] = ()

    def without(self, dropped: Collection[str], engines: Sequence[str]) -> Usable:
        """The plan with what is left of `engines`; the synthesizer if nothing is."""
        kept = tuple(engine for engine in engines if engine not in dropped) or (SYNTH,)
        model = self.model if set(kept) & set(TAKE_A_MODEL) else ""
        return replace(self, engines=kept, model=model)

    def options(self) -> list[str]:
        """What `python -m solver` is told."""
        return [
            *(["--engines", ",".join(self.engines)] if self.engines else []),
            *(["--workers", str(self.workers)] if self.workers else []),
            *(["--devices", str(self.devices)] if self.devices else []),
            *(["--model", self.model] if self.model else []),
        ]

    def environment(self) -> dict[str, str]:
        """What its process finds: the kit, and the GPUs that work."""
        if self.visible is None:
            return dict(IMPORTABLE)
        return {**IMPORTABLE, "CUDA_VISIBLE_DEVICES": ",".join(self.visible)}

    def write(self, path: Path) -> None:
        atomic_write(path, json.dumps(asdict(self)))


def read_usable(path: Path) -> Usable:
    """The plan that a preflight left, as far as it came. Raises `DataError`."""
    value: dict[str, Any] = load_json(path)
    lists = {k: tuple(v) for k, v in value.items() if isinstance(v, list)}
    return Usable(**value | lists)


def needs_model(engine: str) -> bool:
    """True for an engine that loads a model."""
    return ENGINES.get(engine, engine).startswith("solver.lm.")
