"""A `Writer` by a transformers model, which samples texts in batches until a deadline."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import AutoTokenizer, StoppingCriteria, StoppingCriteriaList

from solver.deadline import Deadline
from solver.grid import DataError
from solver.lm.induce.prompts import Chat, is_complete
from solver.lm.induce.settings import Induction
from solver.lm.load import load_causal, one_line

LOOK_EVERY = 8  # tokens between two checks for complete texts


class LocalWriter:
    """A writer that samples texts from a transformers model in batches."""

    def __init__(self, lm: Any, tokenizer: Any, settings: Induction) -> None:
        """`lm`: the model that generates. The tokenizer's chat template is used if there is one."""
        self._lm, self._tokenizer, self._settings = lm.eval(), tokenizer, settings
        tokenizer.padding_side = "left"
        if tokenizer.pad_token_id is None:
            tokenizer.pad_token = tokenizer.eos_token

    def fits(self, chat: Chat) -> bool:
        read = len(self._tokenizer(self._text(chat), add_special_tokens=False)["input_ids"])
        return bool(read + self._settings.max_new_tokens <= self._settings.max_seq_length)

    def write(self, chats: Sequence[Chat], deadline: Deadline, seed: int) -> Iterator[str]:
        torch.manual_seed(seed)
        for start in range(0, len(chats), self._settings.batch):
            if deadline.passed():
                return
            yield from self._batch(chats[start : start + self._settings.batch], deadline)

    @torch.inference_mode()
    def _batch(self, chats: Sequence[Chat], deadline: Deadline) -> list[str]:
        settings, decode = self._settings, self._tokenizer.batch_decode
        texts = [self._text(chat) for chat in chats]
        prompts = self._tokenizer(
            texts, return_tensors="pt", padding=True, add_special_tokens=False
        ).to(self._lm.device)
        begin = prompts["input_ids"].shape[1]
        how: dict[str, Any] = {"do_sample": False}
        if settings.temperature > 0:
            how = {"do_sample": True, "top_p": settings.top_p, "top_k": 0}
            how["temperature"] = settings.temperature
        stop = _Stop(deadline, begin, lambda rows: decode(rows, skip_special_tokens=True))
        written = self._lm.generate(
            input_ids=prompts["input_ids"],
            attention_mask=prompts["attention_mask"],
            max_new_tokens=settings.max_new_tokens,
            pad_token_id=self._tokenizer.pad_token_id,
            stopping_criteria=StoppingCriteriaList([stop]),
            **how,
        )
        return list(decode(written[:, begin:], skip_special_tokens=True))

    def _text(self, chat: Chat) -> str:
        if self._tokenizer.chat_template is None:
            return "\n\n".join(message["content"] for message in chat) + "\n"
        return str(
            self._tokenizer.apply_chat_template(
                [dict(message) for message in chat], tokenize=False, add_generation_prompt=True
            )
        )


class _Stop(StoppingCriteria):
    """A criterion that stops all texts at the deadline, and a text with a whole program.

    The deadline is checked after each token, whole programs after every `LOOK_EVERY` tokens.
    """

    def __init__(
        self, deadline: Deadline, begin: int, decode: Callable[[torch.Tensor], list[str]]
    ) -> None:
        self._deadline, self._begin, self._decode = deadline, begin, decode

    def __call__(self, input_ids: Any, scores: Any, **more: Any) -> Any:  # (B, T) -> (B,)
        done = [self._deadline.passed()] * len(input_ids)
        if not done[0] and (input_ids.shape[1] - self._begin) % LOOK_EVERY == 0:
            done = [is_complete(text) for text in self._decode(input_ids[:, self._begin :])]
        return torch.tensor(done, device=input_ids.device)


def load_writer(settings: Induction) -> LocalWriter:
    """Load the code model that settings name, on the GPU if there is one, from local files only.

    Raises `DataError` if the model or the tokenizer cannot be loaded, or if they do not match.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    lm: Any = load_causal(settings, device)
    folder = Path(settings.model)
    try:
        tokenizer: Any = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{folder}: its tokenizer cannot be loaded: {one_line(error)}") from None
    rows = lm.get_input_embeddings().num_embeddings
    if len(tokenizer) > rows:
        raise DataError(
            f"{folder}: a tokenizer of {len(tokenizer)} tokens where the model has {rows}: "
            "one of them belongs to another checkpoint"
        )
    return LocalWriter(lm, tokenizer, settings)
