"""Settings of program induction in a profile, and the check that program induction can run.

The process of the run reads the settings before anything starts. The worker that loads the model
reads the settings again. Nothing here imports torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from solver.grid import DataError
from solver.kit import CONFIG_FILE
from solver.lm.files import read_config, tensors_of
from solver.lm.induce.prompts import STYLES
from solver.lm.ready import LIBRARIES, PARTS, gpu_mb, quantized_by
from solver.lm.settings import Checkpoint, Number, require
from solver.lm.vocabulary import TOKENIZER
from solver.sandbox.parent import Sandbox, SandboxError
from solver.settings import OneOf, Range, fill

NEEDED = ("torch", "transformers", "safetensors")


@dataclass(frozen=True)
class Induction(Checkpoint):
    """A code model, and the settings of program induction.

    prompt: the style of grids (`solver.lm.induce.prompts.STYLES`).
    samples: programs to ask for in the first round.
    rounds: number of rounds after the first.
    revisions: programs to ask for in each round after the first.
    enough: number of verified programs that ends a task.
    batch: texts that are written at once.
    max_new_tokens: most tokens of a text.
    temperature, top_p: of sampling; a temperature of 0 takes the likeliest token.
    program_s, program_mb: limits of a program's time and memory.
    """

    prompt: Annotated[str, OneOf(tuple(STYLES))] = "digits"
    samples: Number = 16
    rounds: Annotated[int, Range(least=0)] = 4
    revisions: Number = 16
    enough: Number = 4
    batch: Number = 8
    max_new_tokens: Number = 2048
    temperature: Annotated[float, Range(least=0)] = 0.8
    top_p: Annotated[float, Range(above=0, most=1)] = 0.95
    program_s: Annotated[float, Range(least=0.1)] = 4.0
    program_mb: Annotated[int, Range(least=64)] = 512


def read(given: Mapping[str, Any], at: str = "") -> Induction:
    """The settings in a table of a profile. `at`: the table's place, for errors.

    Raises `DataError` naming a key that is not a setting, or a value that is not allowed.
    """
    settings = fill(Induction, given, at)
    new, longest = settings.max_new_tokens, settings.max_seq_length
    if new >= longest:
        key = f"{at}: max_new_tokens" if at else "max_new_tokens"
        raise DataError(f"{key}: must be below max_seq_length, {longest}, is {new}")
    return settings


def check(given: Mapping[str, Any], memory_mb: int) -> None:
    """Raise `DataError` if program induction cannot run with these settings on this machine.

    The reason is a machine that cannot run programs safely, a checkpoint that a worker could not
    load, or weights that do not fit. The weights must fit on the GPU, or without a GPU in a
    worker's `memory_mb`.
    """
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
            f"{folder / CONFIG_FILE}: max_position_embeddings is {limit}, "
            f"less than max_seq_length {settings.max_seq_length}"
        )
    weights = sum(tensor.size for tensor in tensors_of(folder))
    needed = weights * (1.0 if method else PARTS[settings.quantization]) / 2**20
    memory = gpu_mb() or memory_mb
    if needed > memory:
        raise DataError(f"{folder}: weights take {needed:.0f} MB, of {memory} MB: quantize (nf4)")
