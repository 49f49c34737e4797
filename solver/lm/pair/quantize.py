"""The quantization of the bundled model: matrices in 8 bits, all other weights in bfloat16.

The method is LLM.int8 (Dettmers 2022, arXiv:2208.07339). The weights of a row share a scale, and
each is rounded to one of 255 values. With 4 bits the file would be 2 MB smaller, but fewer outputs
would be exact (`docs/experiments.md`).
"""

from __future__ import annotations

import os
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from transformers import AutoModelForCausalLM

from solver.grid import DataError
from solver.lm.load import quantization
from solver.lm.pair.model import CONFIG_FILE, PROVENANCE, WEIGHTS_FILE, is_quantized, load

METHOD = "int8"


def quantize(source: Path, out: Path) -> None:
    """Quantize the checkpoint in `source`, and write two files to `out` that `load` reads.

    The same weights give the same files. A provenance in `out` is deleted. Raises `DataError` if
    `source` is not a checkpoint of the pair format, or is already quantized.
    """
    load(source)
    if is_quantized(source):
        raise DataError(
            f"{source / CONFIG_FILE}: quantized already; name the folder it was made from"
        )
    lm = AutoModelForCausalLM.from_pretrained(
        source,
        local_files_only=True,
        dtype=torch.bfloat16,
        device_map="cpu",
        quantization_config=quantization(METHOD, torch.bfloat16),
    )
    out.mkdir(parents=True, exist_ok=True)
    (out / PROVENANCE).unlink(missing_ok=True)  # described the replaced files
    with TemporaryDirectory(prefix=".", dir=out) as beside:
        lm.save_pretrained(beside)
        for name in (CONFIG_FILE, WEIGHTS_FILE):
            file = Path(beside) / name
            file.chmod(0o644)
            os.replace(file, out / name)
