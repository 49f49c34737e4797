"""A decoder of transformers as a `LanguageModel` of the context format.

The embeddings and the head are cut to the tokens of the format. A prompt's logits then take little
memory, and search sees symbols. Prompts are read one at a time, as plain causal text. Keys and
values go to a memory that all rows share (`solver.lm.memory`).

In some styles an output ends with a newline and END. The end of a row and the end of the output
then begin with the same token. Every symbol is therefore read together with a newline after the
symbol. No other token sees this newline. The same pass then gives the probability of END, so all
probabilities are probabilities of whole symbols.
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

MASK_AT_ONCE = 1 << 26  # entries of an attention mask, which take at most 256 MB
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
    """

    def __init__(self, lm: Any, vocabulary: Vocabulary, limit: int) -> None:
        super().__init__()
        self.lm, self.vocabulary, self.limit = lm, vocabulary, limit

    def forward(self, tokens: Tensor, *_: Tensor) -> Tensor:
        """Logits (B, T, V) for tokens (B, T). The other arrays of a `Batch` are ignored."""
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


class ContextCache:
    """Keys and values of the tokens that the model has read, for some rows.

    The last column is for padding: only padding sees it.
    """

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
        """A cache that contains prompts, and log-probabilities (B, WRITABLE) after them."""
        lengths = np.array([len(prompt) for prompt in prompts])
        most = int(lengths.max()) + (2 if model.vocabulary.tail else 1) * room
        cache = cls(model, rows, most, deadline)
        cache._memory.reach(int(lengths.max()))
        logits = [cache._read(row, prompt) for row, prompt in enumerate(prompts)]
        cache._prompts = cache._lengths = lengths
        first = np.stack(logits)
        return cache, _after_text(first) if model.vocabulary.tail else _normal(first)

    def _read(self, row: int, prompt: Prompt) -> LogProbs:
        """Read a prompt by the model's own causal attention. Returns logits (WRITABLE,)."""
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
        """Logits (B, N, WRITABLE) after tokens (B, N). The other arguments are (B, N) too.

        places: the tokens' positions in the text.
        at: the columns that keep the tokens' keys and values.
        seen: number of columns, from the first, that a token sees besides itself.
        """
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
    """Log-probabilities of symbols, from logits; OUT and the symbols `never` get minus infinity."""
    logits = logits.copy()
    logits[..., [OUT, *never]] = -np.inf
    normal: LogProbs = logits - np.logaddexp.reduce(logits, axis=-1, keepdims=True)
    return normal


def _after_text(logits: LogProbs) -> LogProbs:
    """Log-probabilities after a prompt, if a newline precedes END. No output is empty: no END."""
    return _normal(logits, END)


def _with_tail(logits: LogProbs, behind: LogProbs, symbols: Tokens) -> LogProbs:
    """Log-probabilities after symbols (B, N), for styles with a newline before END.

    logits: after the symbols.
    behind: after a newline that follows each symbol. A newline counts as END or ROW, according to
    the probabilities of END and of a colour after the newline.
    """
    after_cell = _normal(logits, END)
    ending = _normal(behind, ROW)
    after_cell[..., END] = after_cell[..., ROW] + ending[..., END]
    after_cell[..., ROW] += np.logaddexp.reduce(ending[..., :COLORS], axis=-1)
    after_row = _normal(logits, ROW, END)
    return np.where((symbols == ROW)[..., None], after_row, after_cell)
