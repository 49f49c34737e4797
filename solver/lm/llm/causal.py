"""A decoder of transformers with a vocabulary that is cut to the tokens of the context format.

The logits of a long prompt then take little memory, and search sees symbols.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from solver.data.template import predict_size
from solver.deadline import Deadline, Watch
from solver.grid import DataError, Task
from solver.lm.llm.attention import use_grouped
from solver.lm.llm.context import encode_prompt
from solver.lm.llm.step import fits
from solver.lm.search.language import Prompt
from solver.lm.symbols import END, Tokens
from solver.lm.vocabulary import Vocabulary
from solver.views import View

LOOK_EVERY = 512  # tokens of a layer, at least, between two looks at the time


def cut_vocabulary(lm: Any, kept: Tokens) -> None:
    """Cut a model's embeddings and head to the rows `kept`, in this order.

    Tied embeddings and head become two matrices, since both are small. Raises `DataError` for a
    row that the embeddings lack, or a quantized head.
    """
    embeddings, head = lm.get_input_embeddings(), lm.get_output_embeddings()
    rows = embeddings.weight.shape[0]
    if int(kept.max()) >= rows:
        raise DataError(f"token {kept.max()} of a model with {rows}: not its tokenizer")
    if not head.weight.is_floating_point():
        raise DataError("the head is quantized: its rows cannot be told apart")
    index = torch.from_numpy(kept).to(embeddings.weight.device)
    cut = nn.Embedding(len(kept), embeddings.weight.shape[1])
    cut.weight = nn.Parameter(embeddings.weight.detach()[index].clone(), requires_grad=False)
    other = nn.Linear(head.weight.shape[1], len(kept), bias=head.bias is not None)
    other.weight = nn.Parameter(head.weight.detach()[index].clone(), requires_grad=False)
    if head.bias is not None:
        other.bias = nn.Parameter(head.bias.detach()[index].clone(), requires_grad=False)
    lm.config.tie_word_embeddings = False
    lm.config.vocab_size = lm.vocab_size = len(kept)
    lm.config.bos_token_id, lm.config.eos_token_id, lm.config.pad_token_id = None, END, None
    lm.set_input_embeddings(cut)
    lm.set_output_embeddings(other)


class ContextModel(nn.Module):
    """A decoder with a cut vocabulary, for training and for search.

    lm: the decoder; peft may have wrapped it.
    limit: most tokens of a sequence.
    copied: True if a copy of the layers may answer instead of them (`solver.lm.llm.step`).
    """

    def __init__(self, lm: Any, vocabulary: Vocabulary, limit: int) -> None:
        super().__init__()
        use_grouped(lm)
        self.lm, self.vocabulary, self.limit = lm, vocabulary, limit
        self.copied = fits(lm)

    def forward(self, tokens: Tensor, *_: Tensor) -> Tensor:
        """Logits (B, T, V) for tokens (B, T). The other arrays of a `Batch` are ignored."""
        logits: Tensor = self.lm(input_ids=tokens, use_cache=False).logits
        return logits

    def prompt(self, task: Task, test: int, view: View) -> Prompt:
        """The whole task as the view shows it, up to the output of a test input."""
        seen = view.apply_task(task)
        sequence = encode_prompt(self.vocabulary, seen.train, seen.tests[test], self.limit)
        height, width = predict_size(seen, seen.tests[test])
        return Prompt(sequence, 0, seen.tests[test], height * (width + 1))

    @contextmanager
    def watched(self, deadline: Deadline, tokens: int) -> Iterator[None]:
        """Let a pass over so many tokens look at the time before its layers.

        The pass then raises `OutOfTimeError` if time is up. Small passes never look.
        """
        if tokens * len(self.layers) < LOOK_EVERY:
            yield
            return
        watch = Watch(deadline, LOOK_EVERY)
        hooks = [
            layer.register_forward_pre_hook(lambda *_: watch.look(tokens)) for layer in self.layers
        ]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()

    @cached_property
    def layers(self) -> list[nn.Module]:
        """The decoder's layers: the first list of so many modules; empty if there is none."""
        count = self.lm.config.num_hidden_layers
        lists = (m for m in self.lm.modules() if isinstance(m, nn.ModuleList) and len(m) == count)
        return list(next(lists, ()))
