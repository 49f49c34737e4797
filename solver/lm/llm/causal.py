"""Any decoder of transformers as a `LanguageModel` of the context format.

Its embeddings and head are cut to the tokens of the format, so that a prompt's logits take no
memory and search sees symbols. Prompts are read one at a time, as plain causal text; what is
written goes to a memory that all rows share (`solver.lm.memory`).

Where a style ends an output with a newline and END, a row's end and the output's begin alike. So
every cell is read with a newline behind it that nobody else sees: what END costs is then known
in the same pass, and probabilities are those of whole symbols.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import DynamicCache

from solver.deadline import Deadline, Watch
from solver.grid import COLORS, DataError, Task
from solver.lm.llm.context import prompt_of
from solver.lm.memory import Memory, Window, additive
from solver.lm.search.language import LogProbs, Prompt
from solver.lm.symbols import END, OUT, ROW, WRITABLE, Tokens
from solver.lm.training.loop import device_of
from solver.lm.vocabulary import Vocabulary
from solver.views import View

MASK_AT_ONCE = 1 << 26  # entries of an attention mask: below 256 MB
LOOK_EVERY = 512  # tokens of a layer, or more, between two looks at the time


def cut_vocabulary(lm: Any, kept: Tokens) -> None:
    """Let a model have just these rows of its embeddings and its head, in this order; tied ones
    are two from then on, since both are small.

    Raises `DataError` for a row that there is none of, or a head that is quantized.
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
    """A decoder whose vocabulary was cut, for training and for search.

    `lm` may be wrapped by peft. `limit`: no sequence is longer, in tokens.
    """

    def __init__(self, lm: Any, vocabulary: Vocabulary, limit: int) -> None:
        super().__init__()
        self.lm, self.vocabulary, self.limit = lm, vocabulary, limit

    def forward(self, tokens: Tensor, *_: Tensor) -> Tensor:
        """Logits (B, T, V) for tokens (B, T): what a `Batch` has besides is of no use here."""
        logits: Tensor = self.lm(input_ids=tokens, use_cache=False).logits
        return logits

    def prompt(self, task: Task, test: int, view: View) -> Prompt:
        """The whole task as the view shows it, up to the output of a test input."""
        sequence = prompt_of(self.vocabulary, task, test, view, self.limit)
        return Prompt(sequence, 0, view.apply(task.tests[test]))

    def read(
        self, prompts: Sequence[Prompt], width: int, room: int, deadline: Deadline
    ) -> tuple[ContextCache, LogProbs]:
        """See `LanguageModel.read`."""
        self.eval()
        return ContextCache.reading(self, prompts, max(width, len(prompts)), room, deadline)

    @contextmanager
    def watched(self, deadline: Deadline, tokens: int) -> Iterator[None]:
        """Let a pass over so many tokens look at the time before a layer; it may then raise
        `OutOfTimeError`."""
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
        """The decoder's layers: its one list of so many modules."""
        count = self.lm.config.num_hidden_layers
        lists = (m for m in self.lm.modules() if isinstance(m, nn.ModuleList) and len(m) == count)
        return list(next(lists, ()))


class ContextCache:
    """What the model has read of some rows; the last column is for padding, never seen."""

    def __init__(self, model: ContextModel, rows: int, columns: int, deadline: Deadline) -> None:
        lm = model.lm
        self._model, self._columns, self._deadline = model, columns, deadline
        self._memory = Memory(lm.config, rows, columns + 1, lm.dtype, device_of(model))
        self._prompts = self._lengths = np.zeros(0, dtype=np.int64)  # (B,)

    @classmethod
    @torch.no_grad()
    def reading(
        cls,
        model: ContextModel,
        prompts: Sequence[Prompt],
        rows: int,
        room: int,
        deadline: Deadline,
    ) -> tuple[ContextCache, LogProbs]:
        """A cache that holds prompts, and log-probabilities (B, WRITABLE) after them."""
        lengths = np.array([len(prompt) for prompt in prompts])
        most = int(lengths.max()) + (2 if model.vocabulary.tail else 1) * room
        cache = cls(model, rows, most, deadline)
        cache._memory.reach(int(lengths.max()))
        logits = [cache._read(row, prompt) for row, prompt in enumerate(prompts)]
        cache._prompts = cache._lengths = lengths
        first = np.stack(logits)
        return cache, _after_text(first) if model.vocabulary.tail else _normal(first)

    def _read(self, row: int, prompt: Prompt) -> LogProbs:
        """Read a prompt by the model's own causal attention; logits (WRITABLE,) after it."""
        tokens = torch.from_numpy(prompt.sequence.tokens)[None].to(self._memory.device)
        held: Any = DynamicCache()
        with self._model.watched(self._deadline, len(prompt)):
            output = self._model.lm(input_ids=tokens, past_key_values=held, use_cache=True)
        for mine, layer in zip(self._memory.layers, held.layers, strict=True):
            mine[row, 0, :, : len(prompt)] = layer.keys[0]
            mine[row, 1, :, : len(prompt)] = layer.values[0]
        last: LogProbs = output.logits[0, -1, :WRITABLE].double().cpu().numpy()
        return last

    def gather(self, rows: Sequence[int], lengths: Sequence[int]) -> None:
        """See `Cache.gather`. Raises `ValueError` for more rows than there is memory for."""
        source = np.asarray(rows)
        reached = self._prompts[source] + np.asarray(lengths)
        self._memory.gather(source, reached)
        self._prompts, self._lengths = self._prompts[source], reached

    def extend(self, symbols: Tokens, counts: Tokens) -> LogProbs:
        """See `Cache.extend`."""
        n = symbols.shape[1]
        before, after = self._lengths[:, None], np.arange(n)
        padding = after >= counts[:, None]
        self._lengths = self._lengths + counts
        place = np.where(padding, 0, before + after)  # (B, N)
        at = np.where(padding, self._columns, place)
        if not self._model.vocabulary.tail:
            return _normal(self._pass(symbols, place, at, place + 1))
        newlines = np.full_like(symbols, ROW)
        behind = np.where(padding, self._columns, before + n + after)
        logits = self._pass(
            *(
                np.concatenate(both, axis=1)
                for both in (
                    (symbols, newlines),
                    (place, np.where(padding, 0, place + 1)),
                    (at, behind),
                    (place + 1, place + 1),
                )
            )
        )
        return _with_tail(logits[:, :n], logits[:, n:], symbols)

    @torch.no_grad()
    def _pass(self, tokens: Tokens, places: Tokens, at: Tokens, seen: Tokens) -> LogProbs:
        """Logits (B, N, WRITABLE) of tokens (B, N) that stand at `places`, are kept in columns
        `at`, and see the first `seen` columns and themselves."""
        kept = at[at < self._columns]
        length = int(max(kept.max(initial=0) + 1, seen.max()))
        rows = max(1, MASK_AT_ONCE // (tokens.shape[1] * length))
        parts = []
        for start in range(0, len(tokens), rows):
            part = slice(start, min(start + rows, len(tokens)))
            window = Window(self._memory, part, at[part], length)
            given, places_, at_, seen_ = (
                torch.from_numpy(a[part]).to(self._memory.device)
                for a in (tokens, places, at, seen)
            )
            column = torch.arange(length, device=given.device)
            visible = (column < seen_[..., None]) | (column == at_[..., None])  # (B, N, S)
            with self._model.watched(self._deadline, given.numel()):
                output = self._model.lm(
                    input_ids=given,
                    position_ids=places_,
                    attention_mask=additive(visible, self._model.lm.dtype),
                    past_key_values=window,
                    use_cache=True,
                )
            parts.append(output.logits[..., :WRITABLE].double().cpu().numpy())
        return np.concatenate(parts)


def _normal(logits: LogProbs, *never: int) -> LogProbs:
    """Log-probabilities of symbols, where OUT and some others never come."""
    logits = logits.copy()
    logits[..., [OUT, *never]] = -np.inf
    normal: LogProbs = logits - np.logaddexp.reduce(logits, axis=-1, keepdims=True)
    return normal


def _after_text(logits: LogProbs) -> LogProbs:
    """What follows a prompt where END needs a newline: no output is empty, so never END."""
    return _normal(logits, END)


def _with_tail(logits: LogProbs, behind: LogProbs, symbols: Tokens) -> LogProbs:
    """Log-probabilities after symbols (B, N), from the logits after them and after a newline
    behind each: a newline is ROW or END by what would follow it."""
    after_cell = _normal(logits, END)
    ending = _normal(behind, ROW)
    after_cell[..., END] = after_cell[..., ROW] + ending[..., END]
    after_cell[..., ROW] += np.logaddexp.reduce(ending[..., :COLORS], axis=-1)
    after_row = _normal(logits, ROW, END)
    return np.where((symbols == ROW)[..., None], after_row, after_cell)
