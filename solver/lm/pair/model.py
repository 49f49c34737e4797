"""The bundled model: the pair format's decoder with grid-aware rotary positions.

The rotary frequencies go to three axes in turn: grid, row, column. Usual frequencies (base 10^7, a
quarter of each head) hardly distinguish neighbouring cells: the mean cosine between a cell and the
next is 0.99. With base 100, whole heads and three units a cell, the mean cosine is 0.65, and no two
of 31 places are closer.
"""

from __future__ import annotations

import json
import shutil
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from solver import kit
from solver.grid import DataError, stable_seed
from solver.lm.memory import additive
from solver.lm.pair.decoder import KIND, Config, Decoder, read_config
from solver.lm.precision import CPU, fast_dtype
from solver.lm.symbols import SLOTS, TASK, VOCABULARY

BUNDLE = kit.MODEL
CELL = 3  # rotary units between neighbouring cells
HEAD = 64
CONFIG_FILE, WEIGHTS_FILE, PROVENANCE = kit.CONFIG_FILE, kit.WEIGHTS_FILE, kit.PROVENANCE
QUANTIZATION = "quantization_config"  # in a configuration file
LEVELS = 127  # of a quantized weight, to either side of 0
_WEIGHT, _SCALE, _LAYOUT = ".weight", ".SCB", ".weight_format"  # of a quantized matrix in a file


@dataclass(frozen=True)
class Size:
    """The size of a model, which has about 13.5 * layers * width^2 parameters."""

    width: int = 256
    layers: int = 6


def configure(size: Size) -> Config:
    """The configuration of a model of this size. The width must be a multiple of 64 (one head)."""
    return Config(
        vocab_size=VOCABULARY,
        hidden_size=size.width,
        intermediate_size=-(-8 * size.width // 3 // 64) * 64,
        num_hidden_layers=size.layers,
        num_attention_heads=size.width // HEAD,
        head_dim=HEAD,
        rope_theta=100.0,
        mrope_section=(11, 11, 10),
    )


def build(size: Size, seed: int) -> Decoder:
    """A new model in float32; the same weights for the same seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(stable_seed(seed, "weights"))
        return Decoder(configure(size))


def load(
    folder: str | Path, dtype: torch.dtype | None = None, device: torch.device = CPU
) -> Decoder:
    """Load a checkpoint of the pair format, with all weights as trainable tensors.

    A checkpoint may be quantized by `solver.lm.pair.quantize`. `dtype`: the precision to compute
    in; by default the precision that the configuration names. `device`: where the weights go.
    Raises `DataError` naming the file that is missing, corrupt, or of another kind of model.
    """
    path = Path(folder)
    values = _read_values(path / CONFIG_FILE)
    config = read_config(path / CONFIG_FILE, values)
    stored = getattr(torch, str(values.get("dtype", "float32")), None)
    if not isinstance(stored, torch.dtype) or not stored.is_floating_point:
        raise DataError(f"{path / CONFIG_FILE}: dtype: {values['dtype']!r} is no precision")
    if not (path / WEIGHTS_FILE).is_file():
        raise DataError(f"{path / WEIGHTS_FILE}: no such file")
    _check_digest(path)
    weights = _read_weights(path, quantized=_is_quantized(path, values))
    shapes = config.shapes()
    wrong = [n for n in shapes | weights if n not in weights or weights[n].shape != shapes.get(n)]
    if wrong:
        raise DataError(f"{path / WEIGHTS_FILE}: weights of another model: {min(wrong)}")
    with torch.random.fork_rng(devices=[]):  # the first weights are drawn, and then replaced
        lm = Decoder(config)
    lm.load_state_dict({n: w.to(dtype or stored) for n, w in weights.items()}, assign=True)
    return lm.to(device).requires_grad_(True)


def is_quantized(folder: Path) -> bool:
    """True for a checkpoint whose matrices are quantized to 8 bits.

    Raises `DataError` for another quantization, or for a configuration that cannot be read.
    """
    return _is_quantized(folder, _read_values(folder / CONFIG_FILE))


def _is_quantized(folder: Path, values: dict[str, Any]) -> bool:
    how = values.get(QUANTIZATION)
    if how is None:
        return False
    eight_bits = isinstance(how, dict) and how.get("quant_method") == "bitsandbytes"
    if not eight_bits or how.get("load_in_8bit") is not True:
        raise DataError(
            f"{folder / CONFIG_FILE}: {QUANTIZATION}: only 8 bits by bitsandbytes can be followed"
        )
    return True


def _read_weights(folder: Path, *, quantized: bool) -> dict[str, Tensor]:
    """The weights of a checkpoint by name. Quantized matrices become float32."""
    path = folder / WEIGHTS_FILE
    try:
        stored = load_file(path)
    except (OSError, SafetensorError) as error:
        raise DataError(f"{path}: cannot be loaded: {error}") from None
    return dict(_dequantized(stored)) if quantized else stored


def _dequantized(stored: dict[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    """Weights by name; each row of a quantized matrix times its scale (arXiv:2208.07339)."""
    for name, values in stored.items():
        scales = stored.get(name.removesuffix(_WEIGHT) + _SCALE)
        if name.endswith(_WEIGHT) and scales is not None and values.ndim == 2:
            if len(scales) == len(values):
                values = values.float() * (scales[:, None] / LEVELS)
            yield name, values
        elif not name.endswith((_SCALE, _LAYOUT)):
            yield name, values


def _read_values(path: Path) -> dict[str, Any]:
    """The values of a configuration of the pair format. Raises `DataError` for any other file."""
    try:
        values: dict[str, Any] = json.loads(path.read_text("utf-8"))
        kind, vocabulary = values["model_type"], values["vocab_size"]
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from None
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path}: no model configuration: {error}") from None
    if (kind, vocabulary) != (KIND, VOCABULARY):
        raise DataError(
            f"{path}: a {kind} of {vocabulary} tokens; "
            f"the pair format needs a {KIND} of {VOCABULARY}"
        )
    return values


def _check_digest(path: Path) -> None:
    """Raise `DataError` for weights with another hash than the provenance beside them names."""
    if not kit.fits_provenance(path):
        raise DataError(f"{path / WEIGHTS_FILE}: corrupt: not the file that {PROVENANCE} is about")


class TaskModel(nn.Module):
    """A language model with learned vectors for each task.

    A task's vectors replace the slots in the sequence. The last vector is also added to all other
    tokens. `tasks` starts from the embeddings of the slots in `lm`.
    """

    def __init__(self, lm: Decoder, tasks: int) -> None:
        super().__init__()
        self.lm = lm
        start = lm.model.embed_tokens.weight[TASK : TASK + SLOTS].detach()  # (K, D)
        self.tasks = nn.Parameter(start.expand(tasks, -1, -1).clone())  # (N, K, D)

    def embed(self, tokens: Tensor, tasks: Tensor) -> Tensor:
        """Vectors (B, T, D) for tokens (B, T) of tasks (B,). Sequences begin with the prefix."""
        learned = self.tasks[tasks]  # (B, K, D)
        vectors = self.embed_more(tokens, learned)
        return torch.cat([vectors[:, :1], learned, vectors[:, 1 + SLOTS :]], 1)

    def embed_more(self, tokens: Tensor, learned: Tensor) -> Tensor:
        """Vectors (B, T, D) for tokens (B, T) after the prefix, of tasks with vectors (B, K, D)."""
        vectors: Tensor = self.lm.model.embed_tokens(tokens)
        return vectors + learned[:, -1:]

    def forward(self, tokens: Tensor, positions: Tensor, prompts: Tensor, tasks: Tensor) -> Tensor:
        """Logits (B, T, V) for tokens (B, T), positions (3, B, T), prompts and tasks (B,)."""
        vectors = self.embed(tokens, tasks)
        mask = visible(prompts, tokens.shape[1], vectors.dtype)
        logits: Tensor = self.lm(vectors, positions * CELL, mask)
        return logits


def load_tasks(folder: Path, tasks: int, device: torch.device) -> TaskModel:
    """A dense model of a number of tasks on a device, in the device's fastest precision.

    Raises `DataError` as `load` does.
    """
    lm = load(folder, fast_dtype(device), device)
    return TaskModel(lm, tasks).to(device, lm.dtype)


def visible(prompts: Tensor, length: int, dtype: torch.dtype) -> Tensor:
    """Additive mask (B, 1, T, T): a token sees the whole prompt, itself and earlier tokens."""
    place = torch.arange(length, device=prompts.device)
    seen = (place <= place[:, None]) | (place < prompts[:, None, None])  # (B, T, T)
    return additive(seen, dtype)


def compile_layers(lm: Decoder) -> bool:
    """Compile the layers, which fuses small operations: twice the speed after ten seconds.

    Layers share their code, so the code is compiled once. Returns False if the machine lacks a
    compiler or Python headers.
    """
    headers = Path(sysconfig.get_path("include")) / "Python.h"
    if not (shutil.which("g++") or shutil.which("clang++")) or not headers.is_file():
        return False
    for layer in lm.model.layers:
        layer.compile(dynamic=True)
    return True
