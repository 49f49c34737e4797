"""The few tokens of a language model that spell ARC tasks, verified against its tokenizer.

A vocabulary gives tokens new numbers. Colours, ROW and END get the same numbers as for the bundled
model (`solver.lm.symbols`). Search and re-scoring thus see the same symbols for every model. A
tokenizer that does not write each cell as one token is refused. This module does not need torch.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from solver.data.jsonio import load_json
from solver.grid import COLORS, DataError, Grid
from solver.lm.symbols import END, ROW, FormatError, Tokens, decode

VOCABULARY_FILE = "vocabulary.json"  # beside a checkpoint whose embeddings were cut to it
TOKENIZER, TOKENIZER_CONFIG = "tokenizer.json", "tokenizer_config.json"
SPECIAL_TOKENS = "special_tokens_map.json"  # has the special tokens in older checkpoints


@dataclass(frozen=True)
class Style:
    """The texts around the grids of a task.

    A task is written as `begin`, then for each pair `ask`, the input, `answer`, the output, `end`.
    Rows are joined by newlines. `{eos}` is replaced by the tokenizer's end-of-sequence token.
    """

    begin: str
    ask: str
    answer: str
    end: str


STYLES = {
    # Role tokens, as Qwen3 was tuned by NVARC (ARC Prize 2025).
    "chat": Style("", "<|im_start|>user\n", "<|im_end|><|im_start|>assistant\n", "<|im_end|>"),
    # Single letters, as the checkpoints of the ARChitects were tuned (arXiv:2505.07859).
    "io": Style("ABCDEFGHJKLMNPQRSTUVWXYZabcdefghjklmnpqrstuvwxyz", "I", "\n+/-=O", "\n{eos}"),
}


@dataclass(frozen=True, eq=False)
class Vocabulary:
    """Tokens by their new numbers. `kept[n]` is the tokenizer's number of token n.

    The first 14 new numbers have the meaning that `solver.lm.symbols` gives. PAD is a second
    number of the token of END, and no model sees PAD. begin, ask, answer: the style's texts by new
    numbers. tail: True if a newline precedes END.
    """

    kept: Tokens  # (V,)
    begin: Tokens
    ask: Tokens
    answer: Tokens
    tail: bool

    def __len__(self) -> int:
        return len(self.kept)

    def grid(self, ids: Sequence[int]) -> Grid:
        """The grid that a model wrote, given as the tokenizer's numbers; undoes `written`.

        Raises `FormatError` if the tokens do not spell a grid, or if a token is not in the
        vocabulary.
        """
        numbers = {int(old): new for new, old in reversed(list(enumerate(self.kept)))}
        unknown = [token for token in ids if token not in numbers]
        if unknown:
            raise FormatError(f"token {unknown[0]} does not spell a part of a task")
        symbols = [numbers[token] for token in ids]
        if self.tail and symbols[-2:] != [ROW, END]:
            raise FormatError(f"{len(symbols)} tokens without a newline and END")
        return decode([*symbols[:-2], END] if self.tail else symbols)

    def written(self, symbols: Tokens) -> Tokens:
        """The tokens of an output by new numbers. `symbols`: the output's symbols, with END."""
        return np.concatenate([symbols[:-1], [ROW, END]]) if self.tail else symbols

    def save(self, path: Path) -> None:
        """Write the vocabulary to a file as JSON; `load_vocabulary` is the inverse."""
        values = {k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in vars(self).items()}
        path.write_text(json.dumps(values) + "\n", encoding="utf-8")


def load_vocabulary(path: Path) -> Vocabulary:
    """The vocabulary in a file that `save` wrote. Raises `DataError` for any other file."""
    values = _object(path)
    try:
        parts = {k: np.array(values[k], dtype=np.int64) for k in ("kept", "begin", "ask", "answer")}
        return Vocabulary(**parts, tail=bool(values["tail"]))
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path}: no vocabulary: {error!r}") from None


def vocabulary_of(folder: Path, style: str) -> Vocabulary:
    """The tokens of a checkpoint's tokenizer that spell tasks in a style.

    Raises `DataError` if the tokenizer cannot be read or lacks a token of the style. Also raised
    if the tokenizer does not write each cell as one token.
    """
    from tokenizers import Tokenizer

    path = folder / TOKENIZER
    if not path.is_file():
        raise DataError(
            f"{path}: no such file; the checkpoint needs its (fast) tokenizer beside it"
        )
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # noqa: BLE001
        # The library raises no narrower class.
        raise DataError(f"{path}: no tokenizer: {' '.join(str(error).split())[:200]}") from None
    tokenizer.no_padding()  # padding in training is not a part of the spelling
    tokenizer.no_truncation()
    return _Speller(path, tokenizer).vocabulary(style)


class _Speller:
    """Builds a vocabulary from a tokenizer, and checks it."""

    def __init__(self, path: Path, tokenizer: Any) -> None:
        self._path, self._tokenizer = path, tokenizer
        # Tokens that the tokenizer puts before every text.
        self._prefix = tokenizer.encode("", add_special_tokens=True).ids

    def vocabulary(self, style: str) -> Vocabulary:
        parts = STYLES[style]
        eos = self._eos() if "{eos}" in parts.end else ""
        end = parts.end.replace("{eos}", eos)
        tail = end.startswith("\n")
        symbols = [self._single(str(color)) for color in range(COLORS)]
        symbols += [self._single("\n"), self._single(end.removeprefix("\n"))]
        if len(set(symbols)) != len(symbols):
            raise DataError(f"{self._path}: two of the digits, newline and END are one token")
        begin = [*self._prefix, *self._ids(parts.begin)]
        ask, answer = self._ids(parts.ask), self._ids(parts.answer)
        others = list(dict.fromkeys(t for t in answer + ask + begin if t not in symbols))
        row, last = symbols[ROW:]
        kept = [*symbols[:COLORS], row, others[0], last, last, *others[1:]]
        numbers = {old: new for new, old in reversed(list(enumerate(kept)))}
        begin, ask, answer = ([numbers[t] for t in part] for part in (begin, ask, answer))
        arrays = [np.array(part, dtype=np.int64) for part in (kept, begin, ask, answer)]
        vocabulary = Vocabulary(arrays[0], arrays[1], arrays[2], arrays[3], tail)
        self._verify(vocabulary, parts, end)
        return vocabulary

    def _verify(self, vocabulary: Vocabulary, parts: Style, end: str) -> None:
        """Raise `DataError` if the tokenizer merges tokens across the borders of a text's parts."""
        rows = ["0" * 30, "1234567890" * 3, "0099" * 7 + "11"]
        cells = np.array([[int(c) for c in row] for row in rows], dtype=np.int64)
        symbols = np.full((3, 31), ROW)
        symbols[:, :-1] = cells
        grid = symbols.reshape(-1)[:-1]
        output = vocabulary.written(np.append(grid, END))
        pair = [vocabulary.ask, grid, vocabulary.answer, output]
        numbers = np.concatenate([vocabulary.begin, *pair, *pair])
        text = "\n".join(rows)
        whole = parts.begin + 2 * (parts.ask + text + parts.answer + text + end)
        found = self._tokenizer.encode(whole, add_special_tokens=True).ids
        expected = vocabulary.kept[numbers].tolist()
        if found[: len(expected)] != expected:
            place = next(
                (i for i, (a, b) in enumerate(zip(found, expected, strict=False)) if a != b),
                len(found),
            )
            token = self._tokenizer.id_to_token(found[place]) if place < len(found) else None
            raise DataError(
                f"{self._path}: no tokenizer for this style: it writes {token!r} "
                f"where one token a cell is needed"
            )

    def _ids(self, text: str) -> list[int]:
        return list(self._tokenizer.encode(text, add_special_tokens=False).ids) if text else []

    def _single(self, text: str) -> int:
        ids = self._ids(text)
        if len(ids) != 1 or self._tokenizer.decode(ids, skip_special_tokens=False) != text:
            raise DataError(f"{self._path}: {text!r} must be one token, not {len(ids)}")
        return ids[0]

    def _eos(self) -> str:
        """The tokenizer's end-of-sequence token, from the first file that names the token.

        Raises `DataError` if no file names the token.
        """
        for file in (TOKENIZER_CONFIG, SPECIAL_TOKENS):
            path = self._path.with_name(file)
            eos = _object(path).get("eos_token") if path.exists() else None
            eos = eos.get("content") if isinstance(eos, dict) else eos
            if isinstance(eos, str):
                return eos
        raise DataError(
            f"{self._path.with_name(TOKENIZER_CONFIG)}: names no eos_token, "
            f"nor does {SPECIAL_TOKENS}; this style ends outputs with it"
        )


def _object(path: Path) -> dict[str, Any]:
    values = load_json(path)
    if not isinstance(values, dict):
        raise DataError(f"{path}: no JSON object")
    return values
