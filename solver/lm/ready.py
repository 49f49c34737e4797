"""Whether a language model could be loaded and would understand the format, without loading it.

Asked before a run starts: what is wrong with a checkpoint is one line then, not hours lost.
Nothing here imports torch.
"""

from __future__ import annotations

import importlib.util
import json
import math
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from solver.grid import DataError
from solver.jsonio import load_json
from solver.kit import CONFIG, WEIGHTS
from solver.lm.settings import Settings, read, require
from solver.lm.vocabulary import FILE, Vocabulary, load_vocabulary, vocabulary_of

INDEX = "model.safetensors.index.json"
NEEDED = ("torch", "transformers", "peft", "safetensors")
# What reads checkpoints that are quantized already, by `quant_method`.
LIBRARIES = {
    "bitsandbytes": "bitsandbytes",
    "torchao": "torchao",
    "gptq": "gptqmodel",
    "awq": "gptqmodel",
    "compressed-tensors": "compressed_tensors",
}
PARTS = {"none": 1.0, "nf4": 0.3, "int8": 0.55}  # of the memory of weights in 16 bits
LIBRARIES_MB = 700  # resident in a worker before any weight is
_QUERY = ["nvidia-smi", "--query-gpu=memory.total", "--format=csv,noheader,nounits"]


@dataclass(frozen=True)
class Tensor:
    """A tensor in a safetensors file: its name, shape and bytes."""

    name: str
    shape: tuple[int, ...]
    size: int


def check(given: Mapping[str, Any], memory_mb: int) -> None:
    """Raise `DataError` for settings that a worker of `memory_mb` could not load a model with."""
    settings = read(given)
    if not settings.model:
        raise DataError("no language model: name its folder with --model")
    folder = Path(settings.model)
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; --model names that of the language model")
    require(NEEDED, "a language model")
    check_config(folder, settings.max_seq_length)
    tensors = list(tensors_of(folder))
    _check_memory(folder, settings, tensors, memory_mb)
    vocabulary = read_vocabulary(folder, settings.style)
    rows = load_json(folder / CONFIG)["vocab_size"]
    if int(vocabulary.kept.max()) >= rows and not (folder / FILE).exists():
        raise DataError(
            f"{folder}: a tokenizer with tokens up to {vocabulary.kept.max()}, "
            f"where the model has {rows}: one of them belongs to another checkpoint"
        )


def read_vocabulary(folder: Path, style: str) -> Vocabulary:
    """The vocabulary of a checkpoint: the one that its embeddings were cut to, or else what of
    its tokenizer spells tasks. Raises `DataError`."""
    if (folder / FILE).exists():
        return load_vocabulary(folder / FILE)
    return vocabulary_of(folder, style)


def quantized_by(folder: Path) -> str | None:
    """How a checkpoint is quantized already, by the library's name for it."""
    config = load_json(folder / CONFIG).get("quantization_config")
    return config.get("quant_method", "bitsandbytes") if isinstance(config, dict) else None


def check_config(folder: Path, length: int) -> None:
    """Raise `DataError` for a configuration that this kit cannot decode `length` tokens with, or
    a way of quantizing without its library."""
    path = folder / CONFIG
    config = load_json(path)
    if not isinstance(config, dict) or not {"model_type", "vocab_size"} <= config.keys():
        raise DataError(f"{path}: no configuration of a language model")
    method = quantized_by(folder)
    if method is not None:
        library = LIBRARIES.get(method)
        if library is None:
            raise DataError(f"{path}: quantized by {method}, which is not known here")
        if importlib.util.find_spec(library) is None:
            raise DataError(f"{path}: quantized by {method}, and {library} is not installed")
    others = set(config.get("layer_types") or ()) - {"full_attention"}
    if others:
        raise DataError(f"{path}: has layers of {sorted(others)[0]}; all must see everything")
    for name in ("max_position_embeddings", "sliding_window"):
        limit = config.get(name)
        off = name == "sliding_window" and config.get("use_sliding_window") is False
        if isinstance(limit, int) and limit < length and not off:
            raise DataError(f"{path}: {name} is {limit}, less than max_seq_length {length}")


def tensors_of(folder: Path) -> Iterator[Tensor]:
    """Every tensor of a checkpoint, by the files' headers.

    Raises `DataError` naming a file that is missing, torn, no safetensors, or another
    checkpoint's.
    """
    if not (folder / INDEX).exists():
        yield from _header(folder / WEIGHTS)
        return
    index = load_json(folder / INDEX)
    places = index.get("weight_map") if isinstance(index, dict) else None
    if not isinstance(places, dict):
        raise DataError(f"{folder / INDEX}: names no files")
    for file in sorted(set(map(str, places.values()))):
        tensors = list(_header(folder / file))
        lacking = {name for name, place in places.items() if place == file}
        lacking -= {tensor.name for tensor in tensors}
        if lacking:
            raise DataError(f"{folder / file}: has no {min(lacking)}, which {INDEX} places there")
        yield from tensors


def _header(path: Path) -> Iterator[Tensor]:
    """The tensors of a file, which must be as long as they are."""
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            size = path.stat().st_size
            header = json.loads(file.read(length)) if length < size else {}
        ends = [0]
        for name, tensor in header.items():
            if name != "__metadata__":
                start, end = tensor["data_offsets"]
                ends.append(end)
                yield Tensor(name, tuple(tensor["shape"]), end - start)
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from None
    except (ValueError, KeyError, TypeError):
        raise DataError(f"{path}: no safetensors file") from None
    if size != 8 + length + max(ends) or not header:
        raise DataError(f"{path}: torn: {size} bytes where {8 + length + max(ends)} belong")


def _check_memory(folder: Path, settings: Settings, tensors: list[Tensor], memory_mb: int) -> None:
    """Raise `DataError` if weights, adapter and its optimiser alone are too much."""
    weights = sum(tensor.size for tensor in tensors)
    if quantized_by(folder) is None:
        weights = int(weights * PARTS[settings.quantization])
    adapter = sum(
        sum(tensor.shape) * settings.rank
        for tensor in tensors
        if len(tensor.shape) == 2 and any(f".{t}." in tensor.name for t in settings.targets)
    )
    # Two bytes each for weight and gradient, twelve for the float32 copy and AdamW's moments.
    needed = math.ceil((weights + 16 * adapter) / 2**20)
    memory = gpu_mb()
    where = "the GPU"
    if memory is None:
        needed, memory, where = needed + LIBRARIES_MB, memory_mb, "a worker (memory_mb)"
    if needed > memory:
        raise DataError(
            f"{folder}: weights and adapter take {needed} MB at least, and {where} has {memory}: "
            "quantize (nf4), lower the rank, or take a smaller model"
        )


def gpu_mb() -> int | None:
    """Memory of the smallest GPU; None where there is none."""
    if shutil.which(_QUERY[0]) is None:
        return None
    try:
        said = subprocess.run(_QUERY, capture_output=True, text=True, timeout=30, check=True)
        return min(map(int, said.stdout.split()))
    except (OSError, subprocess.SubprocessError, ValueError):
        return None
