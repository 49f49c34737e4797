"""Whole runs of the pair model on two devices, which are only names: torch computes on the CPU."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from solver.data.submissions import check_submission
from solver.lm.pair.checkpoint import export
from solver.lm.pair.model import Size, TaskModel, build
from tests.fakes import toy_tasks
from tests.lm.faulty import PHASES, WAYS
from tests.runs import command, finish, journal_of, start, write_challenges

STAGES = """
devices = 2
device_memory_mb = 3000
grace_s = 60

[[stages]]
engine = "joint"
device = true
whole = true
share = 0.03
settings = {{ folder = {folder!r} }}

[[stages]]
engine = {engine!r}
needs = "joint"
device = true
together = 3
max_slice_s = 12
ladder = ["batch", "views", "training"]
settings = {{ folder = {folder!r}, views = 2 }}
"""


def test_every_task_is_answered_though_devices_fail_in_every_phase(tmp_path: Path) -> None:
    """All tasks learn together on one device, then side by side on both, which fail six times."""
    tasks, folder = toy_tasks(6), tmp_path / "sibling"
    export(folder, TaskModel(build(Size(64, 2), 0), 1))
    engine = "tests.lm.faulty:model"
    profile = tmp_path / "own.toml"
    profile.write_text(STAGES.format(folder=str(folder), engine=engine))
    run = tmp_path / "run"
    given = command(write_challenges(tmp_path / "c.json", tasks), run, engine, "10m")
    given[given.index(engine)] = f"joint,{engine}"
    started = start([*given, "--profile", str(profile)], CUDA_VISIBLE_DEVICES="left,right")
    code, out, err = finish(started, timeout=900)
    assert (code, err) == (0, ""), out

    happened = {file.name for file in (run / "shared").iterdir() if file.is_file()}
    assert happened == {f"{phase} {way}" for phase in PHASES for way in WAYS}
    replayed = journal_of(run)
    ends = Counter(job.outcome for job in replayed.jobs)
    assert ends["memory"] > 0 < ends["died"]
    assert {job.outcome for job in replayed.loads} - {"finished"}
    assert {job.worker for job in replayed.jobs} == {0, 1}
    assert {c.task for c in replayed.candidates} == {task.id for task in tasks}
    check_submission(run / "submission.json", tasks)
