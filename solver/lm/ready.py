"""Checks that a language model's folder can be loaded and fits the format, without loading it.

The checks precede a run: a faulty checkpoint then costs one line of output, not hours. This module
does not import torch.
"""

from __future__ import annotations

import functools
import importlib.util
import json
import math
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from solver.grid import DataError
from solver.kit import CONFIG_FILE, IMPORTABLE
from solver.lm.files import Tensor, linear_weights, read_config, tensors_of
from solver.lm.settings import EMBEDDINGS, Settings, adapted, read, require
from solver.lm.vocabulary import VOCABULARY_FILE, Vocabulary, load_vocabulary, vocabulary_of

NEEDED = ("torch", "transformers", "peft", "safetensors")
# Libraries that read checkpoints quantized on disk, by `quant_method`.
LIBRARIES = {
    "bitsandbytes": "bitsandbytes",
    "torchao": "torchao",
    "gptq": "gptqmodel",
    "awq": "gptqmodel",
    "compressed-tensors": "compressed_tensors",
}
PARTS = {"none": 1.0, "nf4": 0.3, "int8": 0.55}  # of the memory of weights in 16 bits
# Bytes of an adapter's parameter. Always two each for the value and the start that is restored; in
# training four each for a float32 copy, its gradient and AdamW's two moments.
HELD, TRAINED = 4, 20
LIBRARIES_MB = 700  # resident in a worker before any weight is loaded
TRYOUT_S = 120.0
REFUSED = 3  # exit code of a tryout that has found a fault
_QUERY = ["nvidia-smi", "--query-gpu=memory.total", "--format=csv,noheader,nounits"]


def check(given: Mapping[str, Any], memory_mb: int) -> None:
    """Raise `DataError` for settings with which a worker of `memory_mb` MB cannot load a model."""
    settings = read(given)
    look(settings, memory_mb)
    _try_out(settings.model, settings.style, settings.max_seq_length, settings.targets)


def look(settings: Settings, memory_mb: int) -> None:
    """The part of `check` that needs only the files.

    Raises `DataError` if a file is missing or torn, or if files belong to different checkpoints.
    The same holds if a library is not installed, or if the kit cannot decode with the
    configuration. Raises `DataError` too if `memory_mb` (of a worker without a GPU) is too small.
    """
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
    rows = read_config(folder)["vocab_size"]
    if int(vocabulary.kept.max()) >= rows and not (folder / VOCABULARY_FILE).exists():
        raise DataError(
            f"{folder}: a tokenizer with tokens up to {vocabulary.kept.max()}, "
            f"where the model has {rows}: one of them belongs to another checkpoint"
        )


def read_vocabulary(folder: Path, style: str) -> Vocabulary:
    """The vocabulary of a checkpoint. Raises `DataError` if there is no usable vocabulary.

    If the checkpoint's embeddings were cut, the vocabulary is the saved one. Otherwise it consists
    of the tokenizer's tokens that spell tasks.
    """
    if (folder / VOCABULARY_FILE).exists():
        return load_vocabulary(folder / VOCABULARY_FILE)
    return vocabulary_of(folder, style)


def quantized_by(folder: Path) -> str | None:
    """The library's name for a checkpoint's quantization on disk; None if there is none."""
    config = read_config(folder).get("quantization_config")
    return str(config.get("quant_method", "bitsandbytes")) if isinstance(config, dict) else None


def check_config(folder: Path, length: int) -> None:
    """Raise `DataError` for a configuration with which the kit cannot decode `length` tokens.

    Also raised for a quantization that is unknown, or whose library is not installed.
    """
    path = folder / CONFIG_FILE
    config = read_config(folder)
    if not isinstance(config.get("model_type"), str) or type(config.get("vocab_size")) is not int:
        raise DataError(f"{path}: no configuration of a language model")
    method = quantized_by(folder)
    if method is not None:
        library = LIBRARIES.get(method)
        if library is None:
            raise DataError(f"{path}: quantized by {method}, which is not known here")
        if importlib.util.find_spec(library) is None:
            raise DataError(f"{path}: quantized by {method}, and {library} is not installed")
    kinds = config.get("layer_types")
    others = set(map(str, kinds)) - {"full_attention"} if isinstance(kinds, list) else set()
    if others:
        raise DataError(f"{path}: has layers of {sorted(others)[0]}; all must see everything")
    for name in ("max_position_embeddings", "sliding_window"):
        limit = config.get(name)
        off = name == "sliding_window" and config.get("use_sliding_window") is False
        if isinstance(limit, int) and limit < length and not off:
            raise DataError(f"{path}: {name} is {limit}, less than max_seq_length {length}")


def _check_memory(folder: Path, settings: Settings, tensors: list[Tensor], memory_mb: int) -> None:
    """Raise `DataError` if learning or answering a task of the longest sequences needs too much.

    The memory is that of the smallest GPU, or else `memory_mb` MB of a worker. One sequence at a
    time is counted, since a job that runs out of memory is tried again with one.
    """
    config, length = read_config(folder), settings.max_seq_length
    adapter = _adapter(settings, tensors)
    learning = TRAINED * adapter + _activations(config, length, settings.checkpointing)
    answering = HELD * adapter + _keys_and_values(config, length)
    weights = sum(tensor.size for tensor in tensors)
    if quantized_by(folder) is None:
        weights = int(weights * PARTS[settings.quantization])
    needed = math.ceil((weights + max(learning, answering)) / 2**20)
    memory = gpu_mb()
    where = "the GPU"
    if memory is None:
        needed, memory, where = needed + LIBRARIES_MB, memory_mb, "a worker (memory_mb)"
    if needed > memory:
        raise DataError(
            f"{folder}: weights, adapter and {length} tokens take {needed} MB at least, and "
            f"{where} has {memory}: quantize (nf4), set checkpointing, lower the rank or "
            "max_seq_length, or take a smaller model"
        )


def _adapter(settings: Settings, tensors: list[Tensor]) -> int:
    """The number of an adapter's parameters. Embeddings and head are cut to a few rows."""
    layers = linear_weights(tensors)
    targets = set(adapted(settings.targets, layers))
    matrices = [tensor.shape for name in targets & layers.keys() for tensor in layers[name]]
    ends = [
        min(t.shape) for t in tensors if any(f"{e}." in t.name for e in targets & {*EMBEDDINGS})
    ]
    return settings.rank * (sum(map(sum, matrices)) + sum(ends))


def _activations(config: Mapping[str, Any], length: int, checkpointing: bool) -> int:
    """Bytes that a sequence's pass keeps for its gradients, in 16 bits, at least.

    With checkpointing: the input of each layer, and everything of the layer that is computed again.
    """
    sizes = "num_hidden_layers", "hidden_size", "intermediate_size"
    layers, hidden, wide = (_number(config, name) for name in sizes)
    heads, groups, size = _heads(config)
    layer = 6 * hidden + 4 * wide + 4 * (heads + groups) * size
    numbers = layers * hidden + layer if checkpointing else layers * layer
    return 2 * length * numbers


def _keys_and_values(config: Mapping[str, Any], length: int) -> int:
    """Bytes of a sequence's keys and values in all layers, in 16 bits."""
    _, groups, size = _heads(config)
    return 2 * length * _number(config, "num_hidden_layers") * 2 * groups * size


def _heads(config: Mapping[str, Any]) -> tuple[int, int, int]:
    """The numbers of queries and of keys of a token in a layer, and the size of each."""
    heads = _number(config, "num_attention_heads")
    groups = _number(config, "num_key_value_heads") or heads
    size = _number(config, "head_dim") or _number(config, "hidden_size") // max(1, heads)
    return heads, groups, size


def _number(config: Mapping[str, Any], name: str) -> int:
    """A whole number of a configuration; 0 if there is none."""
    value = config.get(name)
    return value if type(value) is int else 0


@functools.cache
def _try_out(folder: str, style: str, length: int, targets: tuple[str, ...]) -> None:
    """Raise `DataError` for a model that the library cannot build or the kit cannot decode with.

    A separate process tries the model out (`solver.lm.llm.tryout`), since that needs torch. A
    tryout that takes longer than `TRYOUT_S` seconds proves nothing and raises nothing.
    """
    asked = {"model": folder, "style": style, "max_seq_length": length, "targets": targets}
    try:
        tried = subprocess.run(
            [sys.executable, "-m", "solver.lm.llm.tryout", json.dumps(asked)],
            capture_output=True,
            text=True,
            timeout=TRYOUT_S,
            env={**os.environ, **IMPORTABLE, "CUDA_VISIBLE_DEVICES": "", "HF_HUB_OFFLINE": "1"},
        )
    except subprocess.TimeoutExpired:
        return  # the worker will find out
    if tried.returncode == REFUSED:
        raise DataError(tried.stdout.strip())


def gpu_mb() -> int | None:
    """Memory of the smallest GPU in MB; None if there is no GPU or `nvidia-smi` fails."""
    if shutil.which(_QUERY[0]) is None:
        return None
    try:
        said = subprocess.run(_QUERY, capture_output=True, text=True, timeout=30, check=True)
        return min(map(int, said.stdout.split()))
    except (OSError, subprocess.SubprocessError, ValueError):
        return None
