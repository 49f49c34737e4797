"""The bundled model: `Qwen3_5ForCausalLM` with full attention and grid-aware rotary positions.

The rotary frequencies of the class go to three axes in turn: grid, row, column. The defaults of
the class (base 10^7, a quarter of each head) hardly distinguish neighbouring cells: the mean
cosine between a cell and the next is 0.99. With base 100, whole heads and three units a cell, the
mean cosine is 0.65, and no two of 31 places are closer. The class is therefore used unchanged, and
the checkpoint loads like any other. Only the attention function and the inputs are the kit's.
"""

from __future__ import annotations

import json
import shutil
import sysconfig
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, Qwen3_5ForCausalLM
from transformers import Qwen3_5TextConfig as Config

from solver import kit
from solver.grid import DataError, stable_seed
from solver.lm.load import from_folder, one_line
from solver.lm.memory import additive
from solver.lm.symbols import END, PAD, SLOTS, TASK, VOCABULARY

BUNDLE = kit.MODEL
CELL = 3  # rotary units between neighbouring cells
HEAD = 64
CONFIG_FILE, WEIGHTS_FILE, PROVENANCE = kit.CONFIG_FILE, kit.WEIGHTS_FILE, kit.PROVENANCE


@dataclass(frozen=True)
class Size:
    """The size of a model, which has about 13.5 * layers * width^2 parameters."""

    width: int = 256
    layers: int = 6


def configure(size: Size) -> Config:
    """The configuration of a model of this size. The width must be a multiple of 64 (one head)."""
    heads = size.width // HEAD
    return Config(
        architectures=[Qwen3_5ForCausalLM.__name__],
        vocab_size=VOCABULARY,
        hidden_size=size.width,
        intermediate_size=-(-8 * size.width // 3 // 64) * 64,
        num_hidden_layers=size.layers,
        num_attention_heads=heads,
        num_key_value_heads=heads,
        head_dim=HEAD,
        layer_types=["full_attention"] * size.layers,
        rope_parameters={
            "rope_type": "default",
            "rope_theta": 100.0,
            "partial_rotary_factor": 1.0,
            "mrope_section": [11, 11, 10],
            "mrope_interleaved": True,
        },
        pad_token_id=PAD,
        eos_token_id=END,
        max_position_embeddings=4096,
    )


def build(size: Size, seed: int) -> Qwen3_5ForCausalLM:
    """A new model in float32; the same weights for the same seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(stable_seed(seed, "weights"))
        model = Qwen3_5ForCausalLM(configure(size))  # type: ignore[no-untyped-call]
        return _with_attention(model)


def load(folder: str | Path, dtype: torch.dtype | None = None) -> Qwen3_5ForCausalLM:
    """Load a checkpoint of the pair format from local files only.

    A quantized checkpoint stays quantized. `dtype`: the precision to compute in; by default the
    stored precision. Raises `DataError` naming the file that is missing, corrupt, or of another
    kind of model.
    """
    path = Path(folder)
    _check_config(path / CONFIG_FILE)
    if not (path / WEIGHTS_FILE).is_file():
        raise DataError(f"{path / WEIGHTS_FILE}: no such file")
    _check_digest(path)
    model, info = from_folder(path, dtype=dtype or "auto")
    wrong = [*info["missing_keys"], *info["unexpected_keys"], *info["mismatched_keys"]]
    wrong += _misshapen(model)
    if wrong:
        raise DataError(
            f"{path / WEIGHTS_FILE}: weights of another model: {sorted(map(str, wrong))[0]}"
        )
    return _with_attention(model)


def _misshapen(lm: Qwen3_5ForCausalLM) -> list[str]:
    """The names of weights whose shapes differ from the configuration.

    The library does not check the shapes in a quantized checkpoint.
    """
    with torch.device("meta"):
        asked = Qwen3_5ForCausalLM(lm.config)  # type: ignore[no-untyped-call]
    shapes = {name: weight.shape for name, weight in asked.named_parameters()}
    weights: list[tuple[str, Any]] = list(lm.named_parameters())
    return [n for n, w in weights if getattr(w, "quant_state", w).shape != shapes[n]]


def dequantized(lm: Qwen3_5ForCausalLM) -> Qwen3_5ForCausalLM:
    """The model with all weights as trainable tensors in the model's precision.

    A quantized model is changed in place. Any other model is returned unchanged.
    """
    if getattr(lm, "is_quantized", False):
        lm = lm.dequantize(lm.dtype)  # type: ignore[no-untyped-call]
    return lm


def _check_config(path: Path) -> None:
    try:
        config = json.loads(path.read_text("utf-8"))
        kind, vocabulary = config["model_type"], config["vocab_size"]
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from None
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path}: no model configuration: {one_line(error)}") from None
    if (kind, vocabulary) != ("qwen3_5_text", VOCABULARY):
        raise DataError(
            f"{path}: a {kind} of {vocabulary} tokens; "
            f"the pair format needs a qwen3_5_text of {VOCABULARY}"
        )


def _check_digest(path: Path) -> None:
    """Raise `DataError` for weights with another hash than the provenance beside them names."""
    if not kit.fits_provenance(path):
        raise DataError(f"{path / WEIGHTS_FILE}: corrupt: not the file that {PROVENANCE} is about")


class TaskModel(nn.Module):
    """A language model with learned vectors for each task.

    A task's vectors replace the slots in the sequence. The last vector is also added to all other
    tokens. `tasks` starts from the embeddings of the slots in `lm`.
    """

    def __init__(self, lm: Qwen3_5ForCausalLM, tasks: int) -> None:
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
        masks = {"full_attention": mask, "linear_attention": None}
        logits: Tensor = self.lm(
            inputs_embeds=vectors,
            position_ids=positions * CELL,
            attention_mask=masks,
            use_cache=False,
        ).logits
        return logits


def visible(prompts: Tensor, length: int, dtype: torch.dtype) -> Tensor:
    """Additive mask (B, 1, T, T): a token sees the whole prompt, itself and earlier tokens."""
    place = torch.arange(length, device=prompts.device)
    seen = (place <= place[:, None]) | (place < prompts[:, None, None])  # (B, T, T)
    return additive(seen, dtype)


def compile_layers(lm: Qwen3_5ForCausalLM) -> bool:
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


def products(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor,
    scaling: float,
    **_: Any,
) -> tuple[Tensor, None]:
    """Attention (B, T, H, C) of query (B, H, T, C) as two products and a softmax.

    On a CPU in bfloat16, forward and backward passes together take a third of the time of torch's
    fused kernels. A compiler fuses the steps between the products. Without a backward pass, the
    fused kernels are faster.
    """
    scores = torch.matmul(query * scaling, key.transpose(2, 3)) + attention_mask  # (B, H, T, S)
    mixed = torch.matmul(torch.softmax(scores, -1), value)  # (B, H, T, C)
    return mixed.transpose(1, 2).contiguous(), None


def _with_attention(model: Qwen3_5ForCausalLM) -> Qwen3_5ForCausalLM:
    model.set_attn_implementation("products")
    return model


AttentionInterface.register("products", products)
