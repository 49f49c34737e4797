"""The preflight: what works is said, what does not is left out, and a plan is always there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from solver.deadline import Deadline
from solver.grid import DataError
from solver.kit import MODEL, files_digest, link_model, package_files, settle_times, weights_fault
from solver.lm.pair.model import BUNDLE
from solver.machine import available_mb
from solver.notebook.mounts import CHALLENGES
from solver.notebook.preflight import PreflightRequest, preflight
from solver.notebook.tiny_run import TASK, Trial, solved, try_run, write_trial
from solver.notebook.usable import Usable, read_usable
from tests.fakes import toy_tasks
from tests.runs import ROOT, language_profile, write_challenges

COMPETITION = "some-competition"


def checked(tmp_path: Path, seconds: float = 40.0, **values: Any) -> tuple[Usable, str]:
    """The plan and all that was said, for a machine with the competition mounted."""
    place = tmp_path / "input" / "competitions" / COMPETITION
    place.mkdir(parents=True, exist_ok=True)
    write_challenges(place / CHALLENGES, toy_tasks(2))
    settings = {"engines": "tests.fakes:instant", "competition": COMPETITION, **values}
    profile = settings.pop("profile", "cpu")
    request = PreflightRequest(
        profile, tmp_path, working=tmp_path, input=tmp_path / "input", **settings
    )
    said: list[str] = []
    plan = preflight(request, Deadline.after(seconds), tmp_path / "plan.json", said.append)
    assert read_usable(tmp_path / "plan.json") == plan
    return plan, "\n".join(said)


def test_where_all_is_well_the_plan_changes_nothing(tmp_path: Path) -> None:
    plan, said = checked(tmp_path, digest=files_digest())
    found = tmp_path / "input" / "competitions" / COMPETITION / CHALLENGES
    assert plan == Usable(challenges=str(found))
    assert "every file is as the build left it" in said
    assert "solved by a run with tests.fakes:instant" in said
    assert "PROBLEM" not in said


def test_an_engine_that_fails_is_left_out(tmp_path: Path) -> None:
    plan, said = checked(tmp_path, engines="tests.fakes:instant,tests.fakes:explodes", digest="x")
    assert plan.engines == ("tests.fakes:instant",)
    (problem,) = plan.problems
    assert problem.startswith("tiny task: tests.fakes:explodes is left out: ")
    assert "edited since the build" in said


def test_without_a_model_the_others_go_on(tmp_path: Path) -> None:
    plan, said = checked(
        tmp_path, engines="tests.fakes:instant,joint,model", model="datasets/someone/arc-model"
    )
    assert plan.engines == ("tests.fakes:instant",)
    assert "no model: datasets/someone/arc-model is not mounted" in said


def test_an_engine_that_runs_out_of_memory_on_every_rung_is_left_out(tmp_path: Path) -> None:
    stages = "".join(
        f"[[stages]]\nengine = 'tests.fakes:{engine}'\nladder = ['batch']\n"
        for engine in ("instant", "never_has_memory")
    )
    (tmp_path / "own.toml").write_text(f"workers = 1\n{stages}")
    plan, said = checked(tmp_path, profile=str(tmp_path / "own.toml"), engines="")
    assert plan.engines == ("tests.fakes:instant",)
    assert "never_has_memory is left out" in said


def test_engines_that_the_run_is_too_short_for_are_not_tried(tmp_path: Path) -> None:
    profile = tmp_path / "own.toml"
    profile.write_text(
        "workers = 1\n[[stages]]\nengine = 'tests.fakes:instant'\n"
        "[[stages]]\nengine = 'tests.fakes:explodes'\nleast_s = 600\n"
    )
    plan, _ = checked(tmp_path, profile=str(profile), engines="", run_s=599.0)
    assert (plan.engines, plan.problems) == ((), ())
    plan, _ = checked(tmp_path, profile=str(profile), engines="", run_s=600.0)
    assert plan.engines == ("tests.fakes:instant",)


def test_what_workers_on_devices_take_is_not_there_for_the_others(tmp_path: Path) -> None:
    profile = tmp_path / "own.toml"
    for device_mb, workers in ((3, None), (6 * available_mb(), 1)):
        profile.write_text(
            f"devices = 1\nworkers = 4\nmemory_mb = 100\ndevice_memory_mb = {device_mb}\n"
            "[[stages]]\nengine = 'tests.fakes:instant'\n"
        )
        plan, _ = checked(tmp_path, profile=str(profile), engines="")
        assert plan.workers == workers


def test_without_the_competition_the_rest_is_checked(tmp_path: Path) -> None:
    plan, _ = checked(tmp_path, competition="")
    assert (plan.challenges, plan.problems) == ("", ())
    (tmp_path / "input" / "competitions" / COMPETITION / CHALLENGES).unlink()
    request = PreflightRequest(
        "cpu", tmp_path, "tests.fakes:instant", "other", input=tmp_path / "input"
    )
    plan = preflight(request, Deadline.after(40), None, lambda line: None)
    (problem,) = plan.problems
    assert problem.startswith("competition: no arc-agi_test_challenges.json")


@pytest.fixture
def gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A driver that lists two GPUs; this machine has none, so that torch's own failures are met.
    The folder is the first that Python imports from."""
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "nvidia-smi").write_text("#!/bin/sh\nfor i in 0 1; do echo GPU $i: one; done\n")
    (tools / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(tools))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return tools


def on_devices(tmp_path: Path, devices: int) -> str:
    """A profile with an engine on cores and one on devices."""
    path = tmp_path / "own.toml"
    path.write_text(
        f"devices = {devices}\nworkers = 1\n[[stages]]\nengine = 'tests.fakes:instant'\n"
        "[[stages]]\nengine = 'tests.fakes:says_where'\ndevice = true\n"
    )
    return str(path)


def test_gpus_that_are_listed_must_compute(gpus: Path, tmp_path: Path) -> None:
    plan, said = checked(tmp_path, 240.0, profile=on_devices(tmp_path, 2), engines="")
    assert (plan.visible, plan.devices) == ((), None)
    assert plan.engines == ("tests.fakes:instant",)
    assert [problem.split(":")[0] for problem in plan.problems] == ["GPU 0", "GPU 1", "engines"]
    assert "no GPU works: the run continues with tests.fakes:instant" in said
    assert "solved by a run with tests.fakes:instant" in said


# Torch of a machine whose second GPU it has no code for.
HALF = """
import os, numpy
float16 = "float16"
class Tensor(numpy.ndarray):
    def float(self):
        return self.astype("float32")
def ones(height, width, device, dtype):
    if os.environ["CUDA_VISIBLE_DEVICES"] == "1":
        raise RuntimeError("no kernel image is available for execution on the device")
    return numpy.ones((height, width), dtype).view(Tensor)
"""


def test_the_gpus_that_compute_are_used(gpus: Path, tmp_path: Path) -> None:
    (gpus / "torch.py").write_text(HALF)
    plan, said = checked(tmp_path, 240.0, profile=on_devices(tmp_path, 2), engines="")
    assert (plan.visible, plan.devices, plan.engines) == (("0",), 1, ())
    assert "GPU 1        RuntimeError: no kernel image is available" in said
    assert "1 of 2 will work" in said
    assert "solved by a run with tests.fakes:instant, tests.fakes:says_where" in said
    assert plan.options() == ["--devices", "1"]
    assert plan.environment()["CUDA_VISIBLE_DEVICES"] == "0"


def test_stand_ins_for_gpus_let_engines_for_devices_compute_on_the_processor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ARC_KIT_GPUS", "1")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    plan, said = checked(tmp_path, 240.0, profile=on_devices(tmp_path, 2), engines="")
    assert (plan.visible, plan.devices, plan.engines) == (("cpu0",), 1, ())
    assert "GPU cpu0     multiplies" in said
    assert "1 of 2 will work" in said
    assert "solved by a run with tests.fakes:instant, tests.fakes:says_where" in said
    assert plan.environment()["CUDA_VISIBLE_DEVICES"] == "cpu0"
    asked = "import torch; print(torch.cuda.is_available())"
    done = subprocess.run(
        [sys.executable, "-c", asked],
        env={**os.environ, **plan.environment()},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "False\n"


def test_without_any_gpu_what_needs_one_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    plan, said = checked(tmp_path, profile=on_devices(tmp_path, 1), engines="")
    assert (plan.visible, plan.engines) == (None, ("tests.fakes:instant",))
    assert "there is no GPU: the run continues with tests.fakes:instant" in said


def test_a_language_model_that_is_not_whole_is_left_out(tmp_path: Path) -> None:
    from tests.lm.small import build_model

    mounted = tmp_path / "input" / "datasets" / "someone" / "some-model" / "deep"
    mounted.mkdir(parents=True)
    build_model(mounted)
    profile = language_profile(tmp_path / "own.toml", "tests.fakes:instant")
    source = "datasets/*/some-model"
    (mounted / "tokenizer.json").unlink()
    plan, _ = checked(tmp_path, profile=str(profile), engines="", model=source)
    assert (plan.model, plan.engines) == ("", ("tests.fakes:instant",))
    assert "tokenizer.json" in plan.problems[0]


def test_an_unknown_profile_is_bad_input(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such profile"):
        preflight(PreflightRequest("none", tmp_path), Deadline.after(5), None)


def test_the_trial_tells_who_failed(tmp_path: Path) -> None:
    challenges = write_trial(tmp_path / "some")
    assert list(json.loads(challenges.read_text())) == [TASK]
    plan = Usable(engines=("tests.fakes:instant", "tests.fakes:explodes"), workers=1)
    trial = try_run(tmp_path / "trial", "cpu", plan, 20.0, Deadline.after(60))
    assert trial.solved
    assert trial.ended == {"tests.fakes:instant"}
    assert list(trial.failed) == ["tests.fakes:explodes"]
    trial = try_run(tmp_path / "trial", "none", plan, 20.0, Deadline.after(60))
    assert replace(trial, words="") == Trial(2, False, frozenset(), {}, "")
    assert "no such profile" in trial.words
    assert not solved(tmp_path / "nothing")


# --- the kit's own files --------------------------------------------------------------


def test_the_model_is_where_the_engines_look() -> None:
    assert MODEL == BUNDLE
    assert weights_fault() is None


def test_weights_are_those_of_their_provenance(tmp_path: Path) -> None:
    place = tmp_path / "models" / "pair"
    link_model(MODEL, place)
    link_model(MODEL, place)  # a second time, too
    assert weights_fault(place) is None
    copy = tmp_path / "copy"
    copy.mkdir()
    for name in ("config.json", "provenance.json"):
        (copy / name).write_bytes((MODEL / name).read_bytes())
    assert weights_fault(copy) == f"no model in {copy}"
    (copy / "model.safetensors").write_bytes((MODEL / "model.safetensors").read_bytes()[:-1])
    fault = weights_fault(copy)
    assert fault
    assert "is not the file that provenance.json is about" in fault
    (copy / "provenance.json").write_text("{")
    assert "cannot be read" in str(weights_fault(copy))
    (copy / "provenance.json").unlink()
    assert weights_fault(copy) is None


def test_the_digest_sees_every_change(tmp_path: Path) -> None:
    for name in ("a.py", "lm/b.py", "profiles/c.toml"):
        file = tmp_path / "solver" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(name)
    before = files_digest(package_files(tmp_path))
    (tmp_path / "solver" / "__pycache__").mkdir()
    (tmp_path / "solver" / "__pycache__" / "a.pyc").write_text("compiled")
    settle_times(tmp_path)
    assert files_digest(package_files(tmp_path)) == before
    assert {file.stat().st_mtime for _, file in package_files(tmp_path)} == {0.0}
    (tmp_path / "solver" / "lm" / "b.py").write_text("other")
    assert files_digest(package_files(tmp_path)) != before


def test_the_package_is_more_than_its_modules() -> None:
    names = [name for name, _ in package_files(ROOT)]
    assert "solver/profiles/kaggle-cpu.toml" in names
    assert names == sorted(names)
