"""Prove the bundled model's way on one GPU, piece by piece: `python scripts/gpu/pair.py`.

Needs torch and safetensors, no network and no home. Each piece says if
it held, and how fast it was; all results go to one JSON file. Without a GPU the same pieces run on
the CPU, with fewer tasks: a check of the script itself.

- `curves`: tasks side by side have the losses that they have alone on the CPU, in float32.
- `graphs`: no place waits for another; CUDA graphs were captured, and peak memory.
- `speed`: tokens a second learning 1, 16 and 64 tasks.
- `answers`: training tasks learned and answered together, exact outputs and seconds.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from solver.data.arcio import read_source
from solver.deadline import Deadline
from solver.engines import Context
from solver.grid import Task, key, stable_seed
from solver.lm.many.engine import together
from solver.lm.many.stack import Stack
from solver.lm.many.trainer import StackedTrainer
from solver.lm.pair.model import BUNDLE, TaskModel, load
from solver.lm.pair.ttt import RECIPE, Adaptation, batches_of
from solver.lm.precision import fast_dtype
from solver.lm.symbols import Batch

SOURCE = "arc-agi-1:training"
CURVE_STEPS, SPEED_STEPS = 16, 24
TOLERANCE = 1e-2  # nats: float32 of a GPU may use other orders of sums over 16 steps
ADAPTATION = Adaptation()


def main() -> None:
    """Run the pieces and write their results."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("gpu-pair.json"))
    parser.add_argument("--model", type=Path, default=BUNDLE, help="folder of a pair model")
    parser.add_argument("--pieces", default=",".join(PIECES), help="names, separated by commas")
    options = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    name = torch.cuda.get_device_name() if device.type == "cuda" else "cpu"
    found: dict[str, Any] = {"device": name, "torch": torch.__version__}
    tasks = list(read_source(SOURCE).tasks)
    for piece in options.pieces.split(","):
        begun = time.monotonic()
        found[piece] = PIECES[piece](options.model, device, tasks)
        found[piece]["seconds"] = round(time.monotonic() - begun, 1)
        print(piece, json.dumps(found[piece]), flush=True)
        options.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def curves(model: Path, device: torch.device, tasks: list[Task]) -> dict[str, Any]:
    """Largest difference (nats) between losses side by side and losses alone on the CPU."""
    some = tasks[:4]
    beside = _losses(_model(model, device, torch.float32), some)
    cpu = torch.device("cpu")
    alone = [_losses(_model(model, cpu, torch.float32), [task])[0] for task in some]
    worst = max(
        abs(a - b) for x, y in zip(beside, alone, strict=True) for a, b in zip(x, y, strict=True)
    )
    return {"worst_nats": worst, "held": worst < TOLERANCE}


def speed(model: Path, device: torch.device, tasks: list[Task]) -> dict[str, Any]:
    """Tokens a second, and peak memory (GB), learning so many tasks at once."""
    found = {}
    for count in (1, 16, 64) if device.type == "cuda" else (1, 2):
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats()
        stack = Stack(_model(model, device, fast_dtype(device)), ADAPTATION.lora, count)
        trainer, streams = _trainer(stack, tasks[:count])
        given = [[next(stream) for stream in streams] for _ in range(SPEED_STEPS)]
        for batches in given:  # every shape is seen, and captured, before the clock runs
            trainer.step(batches, [0.0] * count)
        _wait(device)
        begun = time.monotonic()
        for batches in given:
            trainer.step(batches, [0.1] * count)
        _wait(device)
        tokens = sum(batch.real for batches in given for batch in batches)
        peak = torch.cuda.max_memory_allocated() / 1e9 if device.type == "cuda" else 0.0
        seconds = time.monotonic() - begun
        found[str(count)] = {"tokens_a_second": round(tokens / seconds), "peak_gb": round(peak, 2)}
    return found


def graphs(model: Path, device: torch.device, tasks: list[Task]) -> dict[str, Any]:
    """The number of captured graphs; `held` is true if no step had to do without one."""
    stack = Stack(_model(model, device, fast_dtype(device)), ADAPTATION.lora, 4)
    trainer, streams = _trainer(stack, tasks[:4])
    for _ in range(8):
        trainer.step([next(stream) for stream in streams], [0.1] * 4)
    captured = trainer.captured
    return {"captured": captured, "held": captured > 0 or device.type == "cpu"}


def answers(model: Path, device: torch.device, tasks: list[Task]) -> dict[str, Any]:
    """Training tasks that one job learns and answers, with every grid that was found."""
    count, seconds = (32, 240.0) if device.type == "cuda" else (2, 20.0)
    some, where = tasks[:count], Path("gpu-pair-shared")
    settings = {"folder": str(model)}
    contexts = [
        Context(0, stable_seed(0, t.id), where, settings=settings, device=True) for t in some
    ]
    found = list(together(some, Deadline.after(seconds), contexts))
    solutions = read_source(SOURCE).solutions or {}
    exact = sum(
        any(c.task == t.id and c.test == i and key(c.grid) == key(grid) for c in found)
        for t in some
        for i, grid in enumerate(solutions[t.id])
    )
    answered = len({c.task for c in found})
    return {"tasks": count, "answered": answered, "outputs_found": exact, "held": answered > 0}


PIECES: dict[str, Callable[[Path, torch.device, list[Task]], dict[str, Any]]] = {
    "curves": curves,
    "graphs": graphs,
    "speed": speed,
    "answers": answers,
}


def _model(folder: Path, device: torch.device, dtype: torch.dtype) -> TaskModel:
    model: TaskModel = TaskModel(load(folder, dtype, device), 1).to(device, dtype)
    return model


def _trainer(stack: Stack, tasks: list[Task]) -> tuple[StackedTrainer, list[Iterator[Batch]]]:
    trainer = StackedTrainer(stack, RECIPE)
    for place, task in enumerate(tasks):
        trainer.reset(place, stable_seed(0, task.id, "adapter"))
    return trainer, [batches_of(task, ADAPTATION, 0) for task in tasks]


def _losses(model: TaskModel, tasks: list[Task]) -> list[list[float]]:
    trainer, streams = _trainer(Stack(model, ADAPTATION.lora, len(tasks)), tasks)
    steps = [
        trainer.step([next(stream) for stream in streams], [0.5] * len(tasks))
        for _ in range(CURVE_STEPS)
    ]
    losses: list[list[float]] = torch.stack(steps, 1).tolist()
    return losses


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


if __name__ == "__main__":
    main()
