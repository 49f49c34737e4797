"""Cut a checkpoint's embeddings and head to the tokens that spell ARC tasks.

    python scripts/cut_vocabulary.py CHECKPOINT OUT --style chat

The script runs once, before the upload. The cut checkpoint computes the same and is smaller to
upload: 0.8 GB of a Qwen3-4B are rows that no task needs. `vocabulary.json` in the output names the
former token of each row.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path

import torch

from solver.grid import DataError
from solver.lm.files import tensors_of
from solver.lm.llm.causal import cut_vocabulary
from solver.lm.load import from_folder
from solver.lm.ready import check_config, read_vocabulary
from solver.lm.settings import MIN_LENGTH_TOKENS
from solver.lm.vocabulary import STYLES, TOKENIZER, TOKENIZER_CONFIG, VOCABULARY_FILE


def main() -> int:
    """Cut the checkpoint. Returns the exit code: 0, or 2 for a checkpoint that cannot be cut."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--style", choices=sorted(STYLES), default="chat")
    options = parser.parse_args()
    try:
        cut(options.checkpoint, options.out, options.style)
    except DataError as error:
        print(f"cut_vocabulary: {error}", file=sys.stderr)
        return 2
    return 0


def cut(checkpoint: Path, out: Path, style: str) -> None:
    """Write the cut checkpoint to `out`. Raises `DataError` for a checkpoint that cannot be cut."""
    if (checkpoint / VOCABULARY_FILE).exists():
        raise DataError(f"{checkpoint}: cut already")
    check_config(checkpoint, MIN_LENGTH_TOKENS)
    for _ in tensors_of(checkpoint):
        pass  # a check that every file is there and whole
    vocabulary = read_vocabulary(checkpoint, style)
    lm, _ = from_folder(checkpoint, dtype=torch.bfloat16)
    cut_vocabulary(lm, vocabulary.kept)
    lm.save_pretrained(out)
    vocabulary.save(out / VOCABULARY_FILE)
    for name in (TOKENIZER, TOKENIZER_CONFIG):
        if (checkpoint / name).exists():
            shutil.copy(checkpoint / name, out / name)


if __name__ == "__main__":
    sys.exit(main())
