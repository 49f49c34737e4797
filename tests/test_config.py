"""Profiles and what the command line lays over them."""

from __future__ import annotations

import dataclasses
import logging
from dataclasses import replace
from pathlib import Path

import pytest

from solver.config import Config, Stage, cores, load_config, ready_stages
from solver.grid import DataError
from tests.runs import ROOT

PROFILES = sorted(path.stem for path in (ROOT / "solver/profiles").glob("*.toml"))


@pytest.mark.parametrize("profile", PROFILES)
def test_every_profile_loads(profile: str) -> None:
    config = load_config(profile, 60.0)
    assert (config.profile, config.budget_s) == (profile, 60.0)
    assert config.workers >= 1
    assert config.memory_mb > 0
    assert config.stages


def test_zero_workers_in_a_profile_mean_one_for_each_core() -> None:
    assert load_config("cpu", 1.0).workers == len(cores())


def test_the_command_line_comes_before_the_profile() -> None:
    config = load_config("kaggle-cpu", 5.0, workers=3, seed=7)
    assert (config.workers, config.seed) == (3, 7)


def test_named_engines_keep_their_stage_and_others_get_a_plain_one() -> None:
    of_the_profile = {stage.engine: stage for stage in load_config("cpu", 1.0).stages}["synth"]
    assert of_the_profile != Stage("synth")
    stages = load_config("cpu", 1.0, engines=("tests.fakes:instant", "synth")).stages
    assert stages == (Stage("tests.fakes:instant"), of_the_profile)


@pytest.mark.parametrize(
    ("profile", "engines", "workers", "complaint"),
    [
        (
            "none",
            (),
            None,
            "--profile none: no such profile; there are cpu, gpu, .*, poe, or",
        ),
        ("../profiles/cpu", (), None, "no such profile"),
        ("cpu", ("magic",), None, "--engines magic: no such engine; there are synth"),
        ("cpu", ("no_such_module:f",), None, "--engines no_such_module:f: no such engine"),
        ("cpu", (":f",), None, "no such engine"),
        ("cpu", ("..:f",), None, "no such engine"),
        ("cpu", (), 0, "--workers 0: must be 1 to 256"),
        ("cpu", (), -2, "--workers -2"),
        ("cpu", (), 100_000, "--workers 100000: must be 1 to 256"),
    ],
)
def test_an_unknown_choice_is_refused(
    profile: str, engines: tuple[str, ...], workers: int | None, complaint: str
) -> None:
    with pytest.raises(DataError, match=complaint):
        load_config(profile, 1.0, engines=engines, workers=workers)


def test_a_folder_is_no_engine_but_a_module_in_it_may_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "nowhere/deeper").mkdir(parents=True)
    (tmp_path / "nowhere/mine.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("nowhere:f", "nowhere.deeper:f", "nowhere.other:f", "nowhere.mine.f:f"):
        with pytest.raises(DataError, match=f"--engines {name}: no such engine; there are synth"):
            load_config("cpu", 1.0, engines=(name,))
    assert load_config("cpu", 1.0, engines=("nowhere.mine:f",)).stages == (Stage("nowhere.mine:f"),)


@pytest.mark.parametrize("name", ["synth:", "a b:f", "tests.fakes:f()", "tests..fakes:f"])
def test_what_names_no_function_is_no_engine(name: str) -> None:
    with pytest.raises(DataError, match="no such engine"):
        load_config("cpu", 1.0, engines=(name,))


def test_a_config_cannot_be_changed() -> None:
    config: Config = load_config("cpu", 1.0)
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.seed = 1  # type: ignore[misc]


def test_a_short_run_does_without_stages_that_need_longer() -> None:
    def engines(budget_s: float, *named: str) -> list[str]:
        return [stage.engine for stage in load_config("cpu", budget_s, engines=named).stages]

    assert engines(599.0) == ["synth"]
    assert engines(600.0) == engines(1e6) == ["synth", "model"]
    assert engines(1.0, "model") == ["model"]


@pytest.mark.parametrize(
    ("profile", "devices"), [("kaggle-l4x4", 4), ("kaggle-t4x2", 2), ("gpu", 1)]
)
def test_profiles_for_gpus_have_the_model_on_devices_and_programs_beside(
    profile: str, devices: int
) -> None:
    config = load_config(profile, 300.0)
    assert (config.devices, load_config("gpu", 300.0, devices=3).devices) == (devices, 3)
    assert [(stage.engine, stage.device) for stage in config.stages] == [
        ("synth", False),
        ("model", True),
    ]
    assert config.stages[1].together > 1
    assert load_config(profile, 300.0, engines=("joint",)).stages[0].device


@pytest.mark.parametrize("profile", ["cpu", "kaggle-cpu", "kaggle-l4x4", "kaggle-t4x2", "gpu"])
def test_learning_all_tasks_together_is_there_for_who_asks(profile: str) -> None:
    stages = load_config(profile, 60.0, engines=("joint", "model")).stages
    assert [(stage.engine, stage.whole, stage.needs) for stage in stages] == [
        ("joint", True, ""),
        ("model", False, "joint"),
    ]


def test_a_run_goes_on_without_an_optional_stage_that_cannot_begin(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("solver"), "propagate", True)  # a run turns it off
    synth, model = Stage("synth"), Stage("model", optional=True, settings={"folder": "nowhere"})
    config = Config(60.0, (synth, model))
    assert ready_stages(config).stages == (synth,)
    assert "model is left out: nowhere/config.json: no such file" in caplog.text
    with pytest.raises(DataError, match="no engine can run: model is left out: nowhere"):
        ready_stages(replace(config, stages=(model,)))
    with pytest.raises(DataError, match=r"^nowhere/config\.json: no such file"):
        ready_stages(replace(config, stages=(synth, replace(model, optional=False))))
