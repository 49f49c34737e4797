"""Workers on devices and workers on cores, at the same time, from the same plan.

The devices here are names: a worker sees its own in its environment and no other, which is all
that a library asks before it looks for hardware.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from solver.config import Config, Stage, cores, device_names, load_config, ready_stages
from solver.data.arcio import Source
from solver.grid import DataError
from solver.runtime.run import solve
from solver.runtime.workers import places
from tests.fakes import BAD_TASK, toy_tasks
from tests.runs import journal_of

TASKS = toy_tasks(12)
ON_CORES = Stage("tests.fakes:meets_devices")
ON_DEVICES = Stage("tests.fakes:meets_cores", device=True)


def test_each_stage_runs_where_it_belongs_and_each_device_has_one_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-a,GPU-b")
    config = Config(60, (ON_CORES, ON_DEVICES), workers=1, devices=2)
    solve(Source("toys", TASKS), config, tmp_path)
    found = journal_of(tmp_path).candidates
    seen: dict[str, set[str]] = {ON_CORES.engine: set(), ON_DEVICES.engine: set()}
    for candidate in found:
        seen[candidate.engine].add(str(candidate.program))
    assert {who.split()[0] for who in seen[ON_DEVICES.engine]} == {"GPU-a", "GPU-b"}
    assert len(seen[ON_DEVICES.engine]) == 2  # processes
    assert [who[0] for who in seen[ON_CORES.engine]] == [" "]  # sees none
    jobs = journal_of(tmp_path).jobs
    assert len(jobs) == 2 * len(TASKS)
    where = {(job.engine, job.worker) for job in jobs}
    assert where == {(ON_CORES.engine, 0), (ON_DEVICES.engine, 1), (ON_DEVICES.engine, 2)}
    assert {job.outcome for job in jobs} == {"finished"}


def test_an_error_on_a_device_costs_one_task_and_its_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-a")
    stage = Stage("tests.fakes:breaks_its_device", device=True)
    solve(Source("toys", TASKS[:6]), Config(60, (stage,), devices=1), tmp_path)
    jobs = journal_of(tmp_path).jobs
    assert len(jobs) == 6
    assert [job.task for job in jobs if job.outcome == "error"] == [BAD_TASK]
    assert {job.outcome for job in jobs} == {"error", "finished"}
    assert jobs[-1].task != BAD_TASK


def test_workers_stand_only_where_a_stage_can_use_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)

    def kinds(*stages: Stage) -> list[tuple[bool, str | None]]:
        config = Config(1, stages, workers=2, devices=2)
        return [(worker.device, worker.place.visible) for worker in places(config, 9)]

    assert kinds(ON_CORES) == [(False, "")] * 2
    assert kinds(ON_DEVICES) == [(True, "0"), (True, "1")]
    assert kinds(ON_CORES, ON_DEVICES) == [(False, "")] * 2 + [(True, "0"), (True, "1")]
    plain = places(Config(1, (ON_CORES,), workers=3), 2)
    assert [worker.place.visible for worker in plain] == [None, None]
    own = places(Config(1, (Stage("synth"), Stage("model")), workers=2), 2)
    assert [worker.place.visible for worker in own] == ["", ""]


def test_workers_are_pinned_where_they_fill_all_cores() -> None:
    every = cores()
    for workers in range(1, 2 * len(every) + 1):
        pinned = [worker.place.core for worker in places(Config(1, (ON_CORES,), workers), 99)]
        full = [every[i % len(every)] for i in range(workers)]
        assert pinned == (full if workers >= len(every) else [-1] * workers)


def test_a_worker_on_a_device_may_reserve_what_it_likes_and_use_what_it_is_given() -> None:
    config = Config(1, (ON_CORES, ON_DEVICES), devices=1, memory_mb=100, device_memory_mb=300)
    core, device = (worker.place for worker in places(config, 9))
    assert (core.memory_mb, device.memory_mb) == (100, 300)
    assert core.addresses_mb > 100
    assert device.core == -1
    assert device.addresses_mb == 0


@pytest.mark.parametrize("listed", ["", "3", "3,"])
def test_fewer_devices_than_a_profile_says_are_refused(
    listed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", listed)
    with pytest.raises(DataError, match="2 devices are asked for, CUDA_VISIBLE_DEVICES is"):
        device_names(2)


def test_devices_of_the_parent_are_handed_on_by_their_names(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5,2,7")
    assert device_names(2) == ["5", "2"]
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    assert device_names(2) == ["0", "1"]


def test_a_stage_for_devices_in_a_profile_without_any_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / "own.toml"
    own, stage = str(path), "workers = 1\n[[stages]]\nengine = 'synth'\ndevice = true\n"
    path.write_text(stage)
    with pytest.raises(DataError, match=r"own\.toml: synth needs a device and there is none"):
        load_config(own, 1.0)
    path.write_text(f"devices = 2\n{stage}")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert load_config(own, 1.0).devices == 2
    assert load_config(own, 1.0, devices=1).devices == 1
    with pytest.raises(DataError, match="--devices 0: must be 1 to 256"):
        load_config(own, 1.0, devices=0)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5")
    with pytest.raises(DataError, match="2 devices are asked for"):
        ready_stages(load_config(own, 1.0))


def test_a_run_journals_what_its_jobs_cost(tmp_path: Path) -> None:
    stage = Stage("tests.fakes:steady")
    solve(Source("toys", TASKS), Config(60, (stage,)), tmp_path)
    costs = journal_of(tmp_path).costs
    assert [(line["engine"], line["jobs"]) for line in costs] == [
        (stage.engine, 4),
        (stage.engine, 8),
    ]
    assert all(line["first_s"] > 0 for line in costs)
    assert "first passes end at" in (tmp_path / "run.log").read_text()
