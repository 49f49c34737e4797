"""A decoder that answers: prompts are read once, and outputs are written and measured after them.

Prompts are read one at a time, as plain causal text. Keys and values go to a memory that all rows
share (`solver.lm.memory`). Those of a prompt are also kept, as far as there is room. Later searches
and measurements for the same test input copy them and do not read the prompt again.

In some styles an output ends with a newline and END. The end of a row and the end of the output
then begin with the same token. Every symbol is therefore read together with a newline after the
symbol. No other token sees this newline. The same pass then gives the probability of END, so all
probabilities are probabilities of whole symbols.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from solver.deadline import Deadline, Watch
from solver.grid import COLORS, Task
from solver.lm.llm.causal import LOOK_EVERY, ContextModel
from solver.lm.llm.step import Shape, Stepper, copied_bytes
from solver.lm.llm.window import Filing, Window
from solver.lm.memory import Memory, additive, free_bytes, size_of
from solver.lm.search.language import LogProbs, Prompt
from solver.lm.symbols import END, OUT, ROW, WRITABLE, Tokens
from solver.lm.training.loop import device_of
from solver.views import View

MASK_AT_ONCE = 1 << 26  # entries of an attention mask, which take at most 256 MB
# Part of the free memory for kept prompts and the cache in use. A machine's memory is shared by
# several workers; a GPU belongs to one.
SHARES = {"cpu": 0.25, "cuda": 0.75}
# Part of the free memory for a copy of the layers that answers faster.
COPY_SHARES = {"cpu": 0.25, "cuda": 0.6}
SPARE_SYMBOLS = 32  # above a quarter more than the expected symbols of an output
COLUMNS_AT_ONCE = 64  # new tokens may see so many columns more than there are, hidden by the mask


class Reader:
    """A `LanguageModel` that reads every prompt once, while the model does not learn.

    reads: number of prompts that the model has read so far.
    """

    def __init__(
        self, model: ContextModel, room: int | None = None, copied: bool | None = None
    ) -> None:
        """Copy the layers with the adapter as it is now, if there is room for a copy.

        `room`: bytes for kept prompts and the cache in use. None: a part of what is free.
        `copied`: False to use the model's own layers, True to copy them; None: as the model says.
        """
        self.model, self.device, self.reads = model.eval(), device_of(model), 0
        self.stepper: Stepper | None = None
        if copied or (copied is None and model.copied and self._may_copy()):
            self.stepper = Stepper.of(model.lm, model.limit)
        if room is None:
            room = int(SHARES.get(self.device.type, 0.0) * free_bytes(self.device))
        self._kept = Kept(room)

    def _may_copy(self) -> bool:
        free = COPY_SHARES.get(self.device.type, 0.0) * free_bytes(self.device)
        return copied_bytes(self.model.lm) <= free

    def prompt(self, task: Task, test: int, view: View) -> Prompt:
        """See `LanguageModel.prompt`."""
        return self.model.prompt(task, test, view)

    def read(
        self, prompts: Sequence[Prompt], width: int, room: int, deadline: Deadline
    ) -> tuple[ContextCache, LogProbs]:
        """See `LanguageModel.read`.

        The cache first has room for the expected symbols of an output, and grows when it must.
        """
        longest, rows = max(map(len, prompts)), max(width, len(prompts))
        each = 2 if self.model.vocabulary.tail else 1  # columns for a symbol
        most = longest + each * room
        expected = max(prompt.expected for prompt in prompts)
        likely = expected * 5 // 4 + SPARE_SYMBOLS if expected else room
        columns = min(most, longest + each * likely)
        used = self._size(rows, columns)
        self._kept.free(used, {prompt.key for prompt in prompts})
        cache = ContextCache(self, self._memory(rows, columns), most, deadline)
        cache.memory.reach(longest)
        logits = [self._into(cache, row, p, used, deadline) for row, p in enumerate(prompts)]
        cache.begin(np.array([len(prompt) for prompt in prompts]))
        first = np.stack(logits)
        return cache, _after_text(first) if self.model.vocabulary.tail else _normal(first)

    def forget(self) -> None:
        """Keep no prompt any longer."""
        self._kept.pages.clear()

    def _into(
        self, cache: ContextCache, row: int, prompt: Prompt, used: int, deadline: Deadline
    ) -> LogProbs:
        """Fill a row of a cache of `used` bytes with a prompt. Returns logits (WRITABLE,)."""
        size, page = self._size(1, len(prompt)), self._kept.pages.get(prompt.key)
        if page is None and not self._kept.fits(used + size):
            return self._read(cache.memory, row, prompt, deadline)
        if page is None:
            memory = self._memory(1, len(prompt))
            page = Page(memory, self._read(memory, 0, prompt, deadline), size)
            self._kept.pages[prompt.key] = page
        cache.memory.copy(row, page.memory, len(prompt))
        return page.logits

    @torch.no_grad()
    def _read(self, memory: Memory, row: int, prompt: Prompt, deadline: Deadline) -> LogProbs:
        """Read a prompt as plain causal text. Returns logits (WRITABLE,)."""
        self.reads += 1
        tokens = torch.from_numpy(prompt.sequence.tokens)[None].to(self.device)
        if self.stepper:
            places = torch.arange(len(prompt), device=self.device)
            whole = Shape(self.stepper, memory.layers, range(row, row + 1), len(prompt), None)
            watch = Watch(deadline, LOOK_EVERY)
            logits = self.stepper.logits(tokens, places, places, None, whole, watch)[-1]
        else:
            filing: Any = Filing(memory, row)
            with self.model.watched(deadline, len(prompt)):
                output = self.model.lm(input_ids=tokens, past_key_values=filing, use_cache=True)
            logits = output.logits[0, -1, :WRITABLE]
        last: LogProbs = logits.double().cpu().numpy()
        return last

    def _memory(self, rows: int, columns: int) -> Memory:
        return Memory(self.model.lm.config, rows, columns, self.model.lm.dtype, self.device)

    def _size(self, rows: int, columns: int) -> int:
        return size_of(self.model.lm.config, rows, columns, self.model.lm.dtype)


@dataclass(frozen=True, eq=False)
class Page:
    """A prompt that was read: its keys and values, and the logits (WRITABLE,) after it.

    size: bytes of the memory.
    """

    memory: Memory
    logits: LogProbs
    size: int


class Kept:
    """Prompts that were read, by their keys, in the order of reading."""

    def __init__(self, room: int) -> None:
        """`room`: bytes that the prompts and the cache in use may take together."""
        self.pages: dict[Hashable, Page] = {}
        self._room = room

    def fits(self, size: int) -> bool:
        """True if so many bytes may be used besides all prompts."""
        return size + sum(page.size for page in self.pages.values()) <= self._room

    def free(self, size: int, wanted: set[Hashable]) -> None:
        """Drop prompts until so many bytes may be used besides, or no prompt is left.

        Prompts that are not `wanted` are dropped before others, those read last before those read
        first. Views are asked in turn, so a prompt read last is needed again last.
        """
        order = [key for key in self.pages if key in wanted]
        order += [key for key in self.pages if key not in wanted]
        while order and not self.fits(size):
            del self.pages[order.pop()]


class ContextCache:
    """Keys and values of the tokens that the model has read, for some rows.

    Padding goes to the columns behind a row's tokens. No token sees these columns, and the next
    tokens are written over them.
    """

    def __init__(self, reader: Reader, memory: Memory, most: int, deadline: Deadline) -> None:
        """`memory`: empty, or with prompts. `most`: the number of columns that it grows to."""
        self.memory = memory
        self._model, self._stepper = reader.model, reader.stepper
        self._most, self._deadline = most, deadline
        self._shapes: dict[tuple[range, int], Shape] = {}  # of passes with one new token a row
        self._prompts = self._lengths = np.zeros(0, dtype=np.int64)  # (B,)

    def begin(self, lengths: Tokens) -> None:
        """Say that the first rows of the memory contain prompts of these lengths (B,)."""
        self._prompts = self._lengths = lengths

    def gather(self, rows: Sequence[int], lengths: Sequence[int]) -> None:
        """See `Cache.gather`. Raises `ValueError` for more rows than there is memory for."""
        source = np.asarray(rows)
        reached = self._prompts[source] + np.asarray(lengths)
        self.memory.gather(source, reached)
        self._prompts, self._lengths = self._prompts[source], reached

    def extend(self, symbols: Tokens, counts: Tokens) -> LogProbs:
        """See `Cache.extend`."""
        n = symbols.shape[1]
        before, after = self._lengths[:, None], np.arange(n)
        padding = after >= counts[:, None]
        self._lengths = self._lengths + counts
        at = before + after  # (B, N)
        place = np.where(padding, 0, at)
        if not self._model.vocabulary.tail:
            return _normal(self._pass(symbols, place, at, place + 1))
        newlines = np.full_like(symbols, ROW)
        behind = before + n + after
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
        length = self._reach(int(at.max()) + 1)
        rows = max(1, MASK_AT_ONCE // (tokens.shape[1] * length))
        parts = []
        for start in range(0, len(tokens), rows):
            part = range(start, min(start + rows, len(tokens)))
            arrays = np.stack([tokens, places, at, seen])[:, start : part.stop]
            given, places_, at_, seen_ = torch.from_numpy(arrays).to(self.memory.device).unbind(0)
            column = torch.arange(length, device=given.device)
            visible = (column < seen_[..., None]) | (column == at_[..., None])  # (B, N, S)
            mask = additive(visible, self._model.lm.dtype)
            logits = self._logits(given, places_, at_, mask, part)
            parts.append(logits.double().cpu().numpy())
        return np.concatenate(parts)

    def _reach(self, length: int) -> int:
        """Let the memory have `length` finite columns. Returns the number that tokens may see."""
        if length > self.memory.columns:
            room = self.memory.columns - int(self._prompts.max())
            self._shapes.clear()  # these have views of the smaller memory
            self.memory.grow(max(length, min(self._most, self.memory.columns + room)))
        length = min(self.memory.columns, -(-length // COLUMNS_AT_ONCE) * COLUMNS_AT_ONCE)
        self.memory.reach(length)
        return length

    def _logits(
        self, tokens: Tensor, places: Tensor, at: Tensor, mask: Tensor, rows: range
    ) -> Tensor:
        """Logits (B, N, WRITABLE) after tokens (B, N) of some rows; see `_pass`."""
        length = mask.shape[-1]
        if self._stepper:
            shape = self._shape(self._stepper, rows, tokens.shape[1], length)
            watch = Watch(self._deadline, LOOK_EVERY)
            logits = self._stepper.logits(tokens, places, at, mask, shape, watch)
            return logits.view(*tokens.shape, -1)
        window: Any = Window(self.memory, slice(rows.start, rows.stop), at, length)
        with self._model.watched(self._deadline, tokens.numel()):
            output = self._model.lm(
                input_ids=tokens,
                position_ids=places,
                attention_mask=mask,
                past_key_values=window,
                use_cache=True,
            )
        return torch.as_tensor(output.logits[..., :WRITABLE])

    def _shape(self, stepper: Stepper, rows: range, new: int, length: int) -> Shape:
        """The shape of a pass, from an earlier pass if it had one new token a row."""
        place = rows, length
        if new > 1 or place not in self._shapes:
            shape = Shape(stepper, self.memory.layers, rows, new, length)
            if new > 1:
                return shape
            self._shapes[place] = shape
        return self._shapes[place]


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
