"""The pair model with the class of transformers in place of the kit's decoder, to compare with."""

from __future__ import annotations

import json
from typing import Any

from torch import Tensor, nn
from transformers import Qwen3_5ForCausalLM, Qwen3_5TextConfig

from solver.lm.pair.decoder import Decoder
from solver.lm.pair.model import TaskModel
from solver.lm.symbols import END, PAD


def as_transformers(
    lm: Decoder, attention: str = "sdpa", kind: type[Qwen3_5ForCausalLM] = Qwen3_5ForCausalLM
) -> Any:
    """A copy of a decoder as an object of transformers' class, or of a subclass of this class."""
    written = json.loads(lm.config.written(lm.dtype, PAD, END))
    made: Any = kind(Qwen3_5TextConfig(**written))
    made.load_state_dict(lm.state_dict())
    made.set_attn_implementation(attention)
    return made.to(lm.dtype)


class PlainDecoder(nn.Module):
    """The class of transformers behind the decoder's interface."""

    def __init__(self, lm: Decoder, attention: str) -> None:
        super().__init__()
        self.config, self.dtype = lm.config, lm.dtype
        whole = as_transformers(lm, attention)
        self.model, self.lm_head = whole.model, whole.lm_head
        self.whole = [whole]  # no module: the parts above are its modules

    def forward(self, vectors: Tensor, positions: Tensor, mask: Tensor) -> Tensor:
        masks = {"full_attention": mask, "linear_attention": None}
        logits: Tensor = self.whole[0](
            inputs_embeds=vectors, position_ids=positions, attention_mask=masks, use_cache=False
        ).logits
        return logits


def plain(model: TaskModel, attention: str = "sdpa") -> TaskModel:
    """A copy of a model that computes by the class of transformers."""
    made = TaskModel(model.lm, len(model.tasks))
    made.lm = PlainDecoder(model.lm, attention)  # type: ignore[assignment]
    made.tasks.data.copy_(model.tasks)
    return made.to(model.lm.dtype)


def whole(model: TaskModel) -> Any:
    """The object of transformers' class in a model by `plain`."""
    lm: Any = model.lm
    return lm.whole[0]
