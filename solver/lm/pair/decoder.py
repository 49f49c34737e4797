"""The network of the pair model: a decoder with gated attention and positions on three axes.

The network, its names and its files are those of transformers' `Qwen3_5ForCausalLM` with full
attention in all layers. Either class loads the checkpoints of the other. Only torch is imported.
With transformers a worker would begin its first job seconds later. On Kaggle the model would also
depend on the image's version of transformers.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from solver.grid import DataError

KIND = "qwen3_5_text"  # the type of model that a configuration must name
CLASS = "Qwen3_5ForCausalLM"  # in transformers
START_SCALE = 0.02  # standard deviation of a new model's weights


@dataclass(frozen=True)
class Config:
    """The shape of a decoder, under the names of transformers' configuration.

    rope_theta: base of the rotary frequencies.
    mrope_section: numbers of frequencies for the axes grid, row and column.
    """

    vocab_size: int
    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    head_dim: int
    rope_theta: float
    mrope_section: tuple[int, int, int]
    rms_norm_eps: float = 1e-6

    @property
    def num_key_value_heads(self) -> int:
        """The number of heads of keys and values: one for each head of queries."""
        return self.num_attention_heads

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of every weight, by name."""
        width, heads = self.hidden_size, self.num_attention_heads * self.head_dim
        layer = {
            **{"input_layernorm": (width,), "post_attention_layernorm": (width,)},
            **{"self_attn.q_norm": (self.head_dim,), "self_attn.k_norm": (self.head_dim,)},
            **{"self_attn.q_proj": (2 * heads, width), "self_attn.k_proj": (heads, width)},
            **{"self_attn.v_proj": (heads, width), "self_attn.o_proj": (width, heads)},
            **{"mlp.gate_proj": (self.intermediate_size, width)},
            **{"mlp.up_proj": (self.intermediate_size, width)},
            **{"mlp.down_proj": (width, self.intermediate_size)},
        }
        table = (self.vocab_size, width)
        return {
            **{"model.embed_tokens.weight": table, "lm_head.weight": table},
            "model.norm.weight": (width,),
            **{
                f"model.layers.{i}.{name}.weight": shape
                for i in range(self.num_hidden_layers)
                for name, shape in layer.items()
            },
        }

    def written(self, dtype: torch.dtype, pad: int, end: int) -> str:
        """The text of a configuration file. `pad`, `end`: tokens of padding and of the end."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        rotary = {name: values.pop(name) for name in ("rope_theta", "mrope_section")}
        return json.dumps(
            {
                **{"architectures": [CLASS], "model_type": KIND},
                **{"dtype": str(dtype).removeprefix("torch."), **values},
                "num_key_value_heads": self.num_key_value_heads,
                "layer_types": ["full_attention"] * self.num_hidden_layers,
                "rope_parameters": {**rotary, **_ROTARY},
                "max_position_embeddings": 4096,
                **{"pad_token_id": pad, "eos_token_id": end, **_FIXED},
            },
            indent=2,
        )


# Settings of the class in transformers of which the decoder knows one value only.
_ROTARY = {"rope_type": "default", "partial_rotary_factor": 1.0, "mrope_interleaved": True}
_FIXED = {"hidden_act": "silu", "attention_bias": False, "tie_word_embeddings": False}


def read_config(path: Path, values: dict[str, Any]) -> Config:
    """The configuration in a file's `values`.

    Raises `DataError` naming the file at `path`, and a value that the decoder cannot follow.
    """
    rotary = values.get("rope_parameters")
    if not isinstance(rotary, dict):
        raise DataError(f"{path}: rope_parameters: a table is needed")
    flat = {**values, **rotary}
    for name, only in {**_ROTARY, **_FIXED}.items():
        if flat.get(name, only) != only:
            raise DataError(f"{path}: {name} = {flat[name]!r}; only {only!r} can be followed")
    made = {field.name: flat[field.name] for field in fields(Config) if field.name in flat}
    try:
        config = Config(**{**made, "mrope_section": tuple(made["mrope_section"])})
    except (KeyError, TypeError) as error:
        raise DataError(f"{path}: cannot be followed: {error}") from None
    _check(path, config, values)
    return config


def _check(path: Path, config: Config, values: dict[str, Any]) -> None:
    counts = [f.name for f in fields(Config) if f.type == "int"]
    for name in counts:
        if type(getattr(config, name)) is not int or getattr(config, name) < 1:
            raise DataError(f"{path}: {name}: a whole number over 0 is needed")
    for name in ("rope_theta", "rms_norm_eps"):
        if not isinstance(getattr(config, name), int | float) or getattr(config, name) <= 0:
            raise DataError(f"{path}: {name}: a number over 0 is needed")
    heads = values.get("num_key_value_heads", config.num_attention_heads)
    if heads != config.num_attention_heads:
        raise DataError(f"{path}: num_key_value_heads: as many as num_attention_heads are needed")
    kinds = values.get("layer_types")
    whole = isinstance(kinds, list) and len(kinds) == config.num_hidden_layers
    if not whole or any(kind != "full_attention" for kind in kinds or ()):
        raise DataError(f"{path}: layer_types: full_attention is needed in all layers")
    if list(map(type, config.mrope_section)) != [int] * 3 or min(config.mrope_section) < 0:
        raise DataError(f"{path}: mrope_section: three whole numbers are needed")
    if 2 * sum(config.mrope_section) != config.head_dim:
        raise DataError(f"{path}: mrope_section: half of head_dim is needed in all")


class Norm(nn.Module):
    """Root-mean-square normalisation of the last dimension, in float32; the factor is 1 + weight.

    arXiv:1910.07467.
    """

    def __init__(self, size: int, eps: float) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.zeros(size))

    def forward(self, vectors: Tensor) -> Tensor:
        exact = vectors.float()
        scale = torch.rsqrt(exact.pow(2).mean(-1, keepdim=True) + self.eps)
        return (exact * scale * (1.0 + self.weight.float())).type_as(vectors)


class Rotary(nn.Module):
    """Cosines and sines of rotary positions (arXiv:2104.09864) on the axes grid, row, column.

    The frequencies go to the three axes in turn, until an axis has its number of frequencies. The
    first axis has the rest.
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        self._size, self._theta = config.head_dim, config.rope_theta
        axes = [0] * (config.head_dim // 2)
        for axis in (1, 2):
            for place in range(axis, min(3 * config.mrope_section[axis], len(axes)), 3):
                axes[place] = axis
        self._axes = tuple(axes)

    @torch.no_grad()
    def forward(self, like: Tensor, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Cosines and sines (B, T, C) of positions (3, B, T), in the precision of `like`."""
        axes, frequencies = _frequencies(self._axes, self._size, self._theta, positions.device)
        angles = positions[axes].movedim(0, -1).float() * frequencies  # (B, T, C / 2)
        both = torch.cat([angles, angles], -1)
        return both.cos().to(like.dtype), both.sin().to(like.dtype)


@cache
def _frequencies(
    axes: tuple[int, ...], size: int, theta: float, device: torch.device
) -> tuple[Tensor, Tensor]:
    """The axis and the frequency of each pair of a head's channels, on a device."""
    steps = torch.arange(0, size, 2, dtype=torch.float)
    return torch.tensor(axes, device=device), (1.0 / theta ** (steps / size)).to(device)


class Attention(nn.Module):
    """Attention whose heads each have a gate on their result."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.head_dim = config.head_dim
        into, out = config.hidden_size, config.num_attention_heads * config.head_dim
        self.q_proj = nn.Linear(into, 2 * out, bias=False)  # for each head a query, then a gate
        self.k_proj = nn.Linear(into, out, bias=False)
        self.v_proj = nn.Linear(into, out, bias=False)
        self.o_proj = nn.Linear(out, into, bias=False)
        self.q_norm = Norm(config.head_dim, config.rms_norm_eps)
        self.k_norm = Norm(config.head_dim, config.rms_norm_eps)

    def forward(self, vectors: Tensor, turn: tuple[Tensor, Tensor], mask: Tensor) -> Tensor:
        """Vectors (B, T, D) after attention. `turn`: cosines and sines; `mask`: additive."""
        heads = (*vectors.shape[:-1], -1, self.head_dim)
        asked = self.q_proj(vectors).view(*vectors.shape[:-1], -1, 2 * self.head_dim)
        query, gate = asked.chunk(2, -1)  # (B, T, H, C)
        query = _turned(self.q_norm(query).transpose(1, 2), *turn)  # (B, H, T, C)
        key = _turned(self.k_norm(self.k_proj(vectors).view(heads)).transpose(1, 2), *turn)
        value = self.v_proj(vectors).view(heads).transpose(1, 2)
        mixed = products(query, key, value, mask).flatten(2)  # (B, T, H * C)
        done: Tensor = self.o_proj(mixed * torch.sigmoid(gate.flatten(2)))
        return done


def products(query: Tensor, key: Tensor, value: Tensor, mask: Tensor) -> Tensor:
    """Attention (B, T, H, C) of query (B, H, T, C) as two products and a softmax.

    On a CPU in bfloat16, forward and backward passes together take a third of the time of torch's
    fused kernels. A compiler fuses the steps between the products. Without a backward pass, the
    fused kernels are faster.
    """
    scores = torch.matmul(query * query.shape[-1] ** -0.5, key.transpose(2, 3)) + mask
    return torch.matmul(torch.softmax(scores, -1), value).transpose(1, 2).contiguous()


def _turned(plain: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Vectors (B, H, T, C) rotated by cosines and sines (B, T, C)."""
    low, high = plain.chunk(2, -1)
    return plain * cos[:, None] + torch.cat([-high, low], -1) * sin[:, None]


class Mlp(nn.Module):
    """A gated linear unit (arXiv:2002.05202)."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.up_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.down_proj = nn.Linear(config.intermediate_size, config.hidden_size, bias=False)

    def forward(self, vectors: Tensor) -> Tensor:
        done: Tensor = self.down_proj(silu(self.gate_proj(vectors)) * self.up_proj(vectors))
        return done


class Layer(nn.Module):
    """Attention, then the gated linear unit, each on normalised vectors and added to them."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.self_attn, self.mlp = Attention(config), Mlp(config)
        self.input_layernorm = Norm(config.hidden_size, config.rms_norm_eps)
        self.post_attention_layernorm = Norm(config.hidden_size, config.rms_norm_eps)

    def forward(self, vectors: Tensor, turn: tuple[Tensor, Tensor], mask: Tensor) -> Tensor:
        vectors = vectors + self.self_attn(self.input_layernorm(vectors), turn, mask)
        after: Tensor = vectors + self.mlp(self.post_attention_layernorm(vectors))
        return after


class Trunk(nn.Module):
    """All of the decoder but the head."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.num_hidden_layers))
        self.norm = Norm(config.hidden_size, config.rms_norm_eps)
        self.rotary_emb = Rotary(config)
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                nn.init.normal_(module.weight, 0.0, START_SCALE)

    def forward(self, vectors: Tensor, positions: Tensor, mask: Tensor) -> Tensor:
        turn = self.rotary_emb(vectors, positions)
        for layer in self.layers:
            vectors = layer(vectors, turn, mask)
        after: Tensor = self.norm(vectors)
        return after


class Decoder(nn.Module):
    """The network. New weights are drawn by torch's current seed."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.model = Trunk(config)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        nn.init.normal_(self.lm_head.weight, 0.0, START_SCALE)

    @property
    def dtype(self) -> torch.dtype:
        """The precision of the weights."""
        return self.lm_head.weight.dtype

    def forward(self, vectors: Tensor, positions: Tensor, mask: Tensor) -> Tensor:
        """Logits (B, T, V) for vectors (B, T, D), positions (3, B, T) and an additive mask."""
        logits: Tensor = self.lm_head(self.model(vectors, positions, mask))
        return logits
