"""The settings of a notebook, checked before anything is built."""

from __future__ import annotations

from dataclasses import dataclass, replace

from solver.config import Stage, load_config, read_profile
from solver.deadline import duration_of
from solver.engines import ENGINES, TAKE_A_MODEL
from solver.grid import DataError
from solver.kit import MODEL
from solver.notebook.mounts import check_source
from solver.notebook.usable import needs_model
from solver.runtime.command import engine_names
from submission.kaggle.editions import Edition, edition_of, machines_of
from submission.wheels.build import FOLDER, LOCK

INSIDE = "inside"  # in place of a model's source: the notebook itself contains the model
KIT_MODEL = "datasets/*/arc-kit-model"  # source of the kit's own model otherwise
# A user's language model needs newer packages than the image's: a profile of `offline_wheels/`, and
# the source of its wheels. The kit's own model needs torch alone, which the image has.
WHEELS_PROFILE, KIT_WHEELS = "language", "datasets/*/arc-kit-language-wheels"
# The profiles of the kit's own engines, by the machine.
PROFILES = {"cpu": "kaggle-cpu", "NvidiaTeslaT4": "kaggle-t4x2", "NvidiaL4": "kaggle-l4x4"}
INSIDE_BYTES = 100_000  # most bytes of weights that a notebook contains beside the solver


@dataclass(frozen=True)
class Settings:
    """The settings of a notebook; the fields are the command's options.

    `profile`: a profile's name or file. Empty: the profile that suits the machine (`PROFILES`).
    `competition`: a year, a slug, or a TOML file (`submission.kaggle.editions`).
    `machine`: one of the edition's machines. Empty: a machine that suits the engines.
    `wheels`: a Kaggle source. Empty: `KIT_WHEELS` for engines with a user's language model, no
    wheels for others.
    `lock`: the file that names the packages to install. Empty: the lock of `WHEELS_PROFILE`.
    `model`: a Kaggle source, or `inside`. Empty: no model if no engine needs a model. Otherwise
    the kit's own model, as `inside` if the model is small enough, else from `KIT_MODEL`.
    """

    profile: str = ""
    engines: str = ""
    competition: str = "arc-prize-2026-arc-agi-2"
    budget: str = "10h"
    short_budget: str = "15m"
    seed: int = 0
    machine: str = ""
    model: str = ""
    wheels: str = ""
    lock: str = ""

    @property
    def edition(self) -> Edition:
        """The edition of the competition. Raises `DataError` for a file with a fault."""
        return edition_of(self.competition)


def settle(settings: Settings) -> tuple[Settings, tuple[str, ...]]:
    """The settings with no choice left open, and the names of the engines.

    Raises `DataError` for settings that cannot work.
    """
    settings = replace(settings, profile=settings.profile or _profile(settings))
    stages = _stages(settings)
    engines = tuple(stage.engine for stage in stages)
    on_gpu = any(stage.device or stage.engine in TAKE_A_MODEL for stage in stages)
    machine = settings.machine or _machine(settings.edition, on_gpu)
    with_model = any(map(needs_model, engines))
    model = settings.model or (_kit_model() if with_model else "")
    wheels = settings.wheels or (KIT_WHEELS if set(engines) & set(TAKE_A_MODEL) else "")
    lock = settings.lock or str(FOLDER / WHEELS_PROFILE / LOCK)
    return replace(settings, machine=machine, model=model, wheels=wheels, lock=lock), engines


def _machine(edition: Edition, on_gpu: bool) -> str:
    """The edition's last machine that has GPUs, or its first one without.

    Raises `DataError` if the edition has none.
    """
    fit = [name for name, one in machines_of(edition).items() if bool(one.gpus) == on_gpu]
    if not fit:
        what = "with GPUs" if on_gpu else "without GPUs"
        raise DataError(f"--competition {edition.name}: has no machine {what}; name one: --machine")
    return fit[-1] if on_gpu else fit[0]


def _profile(settings: Settings) -> str:
    """The profile for the machine, if it has every named engine; else the one without devices."""
    suiting, usual = PROFILES.get(settings.machine, PROFILES["cpu"]), PROFILES["cpu"]
    known = {stage.engine for stage in read_profile(suiting, 1.0).stages}
    return suiting if known.issuperset(engine_names(settings.engines or None)) else usual


def _kit_model() -> str:
    sizes = (file.stat().st_size for file in MODEL.glob("*.safetensors"))
    return INSIDE if 0 < sum(sizes) <= INSIDE_BYTES else KIT_MODEL


def _stages(settings: Settings) -> tuple[Stage, ...]:
    """The stages of the run. Raises `DataError` for settings that cannot work."""
    duration_of("--short-budget", settings.short_budget)
    longest_s = duration_of("--budget", settings.budget)
    named = engine_names(settings.engines or None)
    stages = load_config(settings.profile, longest_s, engines=named).stages
    edition = settings.edition
    check_source(f"competitions/{edition.slug}")
    if longest_s > edition.limit_s:
        raise DataError(f"--budget {settings.budget}: the competition's limit is {edition.limit}")
    for source in (settings.wheels, settings.model):
        if source not in ("", INSIDE):
            check_source(source)
    machines = machines_of(edition)
    if settings.machine not in ("", *machines):
        raise DataError(f"--machine {settings.machine}: there are {', '.join(machines)}")
    _check_engines([stage.engine for stage in stages], settings.model)
    return stages


def _check_engines(engines: list[str], model: str) -> None:
    foreign = [engine for engine in engines if engine not in ENGINES]
    if foreign:
        raise DataError(f"engine {foreign[0]} is not the kit's: a notebook would not have it")
    own = [engine for engine in engines if engine in TAKE_A_MODEL]
    if own and model in ("", INSIDE):
        raise DataError(f"engine {own[0]} needs a language model: add --model")
    others = [engine for engine in engines if needs_model(engine) and engine not in own]
    if own and others:
        raise DataError(f"engines {own[0]} and {others[0]} want two models, a notebook brings one")
