"""Starting real runs in real processes, for the tests that kill, fill and time them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from hypothesis import settings

from solver.data.journal import JOURNAL_FILE, Replay, replay
from solver.grid import Task

ROOT = Path(__file__).resolve().parent.parent
# Other examples than by day, and many more.
NIGHTLY = bool(os.environ.get("ARC_KIT_NIGHTLY"))
PATIENCE_S = 600.0  # what hangs is told from what is slow by this long a wait
ARCSUB = str(Path(sys.executable).with_name("arcsub"))


def examples(number: int) -> settings:
    """So many examples of a property; by night twenty times as many."""
    return settings(max_examples=20 * number if NIGHTLY else number)


def write_challenges(path: Path, tasks: tuple[Task, ...]) -> Path:
    """The tasks as a Kaggle challenges file."""
    path.write_text(
        json.dumps(
            {
                task.id: {
                    "train": [
                        {"input": p.input.tolist(), "output": p.output.tolist()} for p in task.train
                    ],
                    "test": [{"input": grid.tolist()} for grid in task.tests],
                }
                for task in tasks
            }
        )
    )
    return path


def language_profile(path: Path, engine: str) -> Path:
    """A profile of an engine, and a small language model on a core: quick to learn and answer."""
    path.write_text(
        f"workers = 1\n[[stages]]\nengine = {engine!r}\n"
        "[[stages]]\nengine = 'llm'\nmax_slice_s = 5\nsettings = { max_seq_length = 2048, "
        "rank = 8, sequences = 2, views = 1, strategy = 'greedy' }\n"
    )
    return path


def torn_wheel(wheels: Path, lock: Path) -> None:
    """A folder of wheels that are not the files in their lock."""
    wheels.mkdir(parents=True, exist_ok=True)
    (wheels / "made_up_parcel-1.0-py3-none-any.whl").write_bytes(b"PK torn")
    lock.write_text(f"made-up-parcel==1.0 --hash=sha256:{'0' * 64}\n")


def torn_model(model: Path) -> None:
    """A folder of a language model whose weights are cut off."""
    model.mkdir(exist_ok=True)
    (model / "config.json").write_text("{}")
    (model / "model.safetensors").write_bytes(b"torn")


def command(challenges: Path, folder: Path, engine: str, budget: str, *more: str) -> list[str]:
    """The command line of a run; `engine` is a function of `tests.fakes`."""
    name = engine if ":" in engine or engine == "synth" else f"tests.fakes:{engine}"
    return [
        *(sys.executable, "-m", "solver", str(challenges), "--run", str(folder)),
        *("--engines", name, "--budget", budget, *more),
    ]


def start(
    arguments: list[str], folder: Path = ROOT, /, **environment: str
) -> subprocess.Popen[str]:
    """Start it in a folder, with the checkout importable and its output captured."""
    return subprocess.Popen(
        arguments,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: subprocess.Popen[str], timeout: float = PATIENCE_S) -> tuple[int, str, str]:
    """Exit code, standard output, standard error."""
    out, err = process.communicate(timeout=timeout)
    return process.returncode, out, err


def wait_for(condition: Callable[[], bool], seconds: float = PATIENCE_S) -> None:
    """Fail unless something happens in time."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)


def journal_of(folder: Path) -> Replay:
    """The contents of a run's journal."""
    return replay(folder / JOURNAL_FILE)


def workers_of(parent: int) -> list[int]:
    """Process ids of the workers that a parent started and that still run."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "cmdline").read_bytes().split(b"\0")
                state = (entry / "stat").read_text().rsplit(")", 1)[1].split()[0]
            except OSError:
                continue
            if b"solver.runtime.worker" in words and str(parent).encode() in words and state != "Z":
                found.append(int(entry.name))
    return found
