"""The bundled model's form: matrices in eight bits, everything else in bfloat16.

LLM.int8 (Dettmers 2022, arXiv:2208.07339): the weights of a row share a scale and take the nearest
of 255 values. Four bits would save 2 MB and cost exact outputs (`docs/experiments.md`).
"""

from __future__ import annotations

import os
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from transformers import AutoModelForCausalLM

from solver.grid import DataError
from solver.lm.load import quantization
from solver.lm.pair.model import CONFIG, PROVENANCE, WEIGHTS, load

METHOD = "int8"


def quantize(source: Path, out: Path) -> None:
    """Write the checkpoint in `source` anew as a quantized one in `out`, two files that `load`
    reads. The same weights give the same files.

    Raises `DataError` if `source` is no checkpoint of the pair format, or is quantized already.
    """
    if getattr(load(source), "is_quantized", False):
        raise DataError(f"{source / CONFIG}: quantized already; name the folder it was made from")
    lm = AutoModelForCausalLM.from_pretrained(
        source,
        local_files_only=True,
        dtype=torch.bfloat16,
        device_map="cpu",
        quantization_config=quantization(METHOD, torch.bfloat16),
    )
    out.mkdir(parents=True, exist_ok=True)
    (out / PROVENANCE).unlink(missing_ok=True)  # it was about what is replaced now
    with TemporaryDirectory(prefix=".", dir=out) as beside:
        lm.save_pretrained(beside)
        for name in (CONFIG, WEIGHTS):
            file = Path(beside) / name
            file.chmod(0o644)
            os.replace(file, out / name)
