"""What a profile may say about program induction, and whether it could run here.

Read in the process of the run, before anything starts, and again by the worker that loads the
model. Nothing here imports torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from solver.grid import DataError
from solver.kit import CONFIG
from solver.lm.files import read_config, tensors_of
from solver.lm.prompts import STYLES
from solver.lm.ready import LIBRARIES, PARTS, gpu_mb, quantized_by
from solver.lm.settings import CHOICES, Checkpoint, fill, require
from solver.lm.vocabulary import TOKENIZER
from solver.sandbox import Sandbox, SandboxError

NEEDED = ("torch", "transformers", "safetensors")


@dataclass(frozen=True)
class Induction(Checkpoint):
    """A code model and how it is asked for programs.

    prompt: how grids are written (`solver.lm.prompts.STYLES`). samples: programs asked for in
    the first round; revisions: in each of the `rounds` after it. enough: programs that
    reproduce every demonstration end a task. batch: written side by side. max_new_tokens,
    temperature, top_p: of a text. program_s, program_mb: what a program may take.
    """

    prompt: str = "digits"
    samples: int = 16
    rounds: int = 4
    revisions: int = 16
    enough: int = 4
    batch: int = 8
    max_new_tokens: int = 2048
    temperature: float = 0.8
    top_p: float = 0.95
    program_s: float = 4.0
    program_mb: int = 512


def read(given: Mapping[str, Any]) -> Induction:
    """The settings that a profile gives. Raises `DataError` naming the one that is none."""
    settings = fill(Induction, given)
    choices = {"prompt": tuple(STYLES)} | {n: CHOICES[n] for n in ("backend", "quantization")}
    for name, known in choices.items():
        if getattr(settings, name) not in known:
            value = getattr(settings, name)
            raise DataError(f"setting {name} = {value!r}: must be {' or '.join(known)}")
    least = {"rounds": 0, "temperature": 0, "program_mb": 64, "program_s": 0.1}
    numbers = [field.name for field in fields(Induction) if field.type in ("int", "float")]
    wrong = [name for name in numbers if getattr(settings, name) < least.get(name, 1e-9)]
    wrong += [] if settings.top_p <= 1 else ["top_p"]
    wrong += [] if settings.max_new_tokens < settings.max_seq_length else ["max_new_tokens"]
    if wrong:
        raise DataError(f"setting {wrong[0]} = {getattr(settings, wrong[0])}: out of its range")
    return settings


def check(given: Mapping[str, Any], memory_mb: int) -> None:
    """Raise `DataError` for settings that a worker of `memory_mb` could not load a model with, or
    a machine on which no program can be run safely."""
    settings = read(given)
    try:
        Sandbox(settings.program_s, settings.program_mb).close()
    except SandboxError as error:
        raise DataError(str(error)) from None
    folder = Path(settings.model)
    if not settings.model or not folder.is_dir():
        raise DataError(
            f"{settings.model or 'no language model'}: --model names the folder of a code model"
        )
    method = quantized_by(folder)
    require((*NEEDED, *([LIBRARIES.get(method, method)] if method else [])), str(folder))
    if not (folder / TOKENIZER).is_file():
        raise DataError(f"{folder / TOKENIZER}: no such file")
    limit = read_config(folder).get("max_position_embeddings")
    if isinstance(limit, int) and limit < settings.max_seq_length:
        raise DataError(
            f"{folder / CONFIG}: max_position_embeddings is {limit}, "
            f"less than max_seq_length {settings.max_seq_length}"
        )
    weights = sum(tensor.size for tensor in tensors_of(folder))
    needed = weights * (1.0 if method else PARTS[settings.quantization]) / 2**20
    memory = gpu_mb() or memory_mb
    if needed > memory:
        raise DataError(f"{folder}: weights take {needed:.0f} MB, of {memory} MB: quantize (nf4)")
