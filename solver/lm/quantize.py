"""The bundled model's form: matrices in four bits, everything else in bfloat16.

NormalFloat (NF4, Dettmers 2023, arXiv:2305.14314): blocks of 64 weights share a scale and take
the nearest of 16 values. Only the stored weights are rounded; what is computed with them is not.
"""

from __future__ import annotations

import os
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from transformers import AutoModelForCausalLM, BitsAndBytesConfig

from solver.grid import DataError
from solver.lm.model import CONFIG, PROVENANCE, WEIGHTS, load

METHOD = "NF4"


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
        quantization_config=BitsAndBytesConfig(  # type: ignore[no-untyped-call]
            load_in_4bit=True,
            bnb_4bit_quant_type=METHOD.lower(),
            bnb_4bit_compute_dtype=torch.bfloat16,
        ),
    )
    out.mkdir(parents=True, exist_ok=True)
    (out / PROVENANCE).unlink(missing_ok=True)  # it was about what is replaced now
    with TemporaryDirectory(prefix=".", dir=out) as beside:
        lm.save_pretrained(beside)
        for name in (CONFIG, WEIGHTS):
            file = Path(beside) / name
            file.chmod(0o644)
            os.replace(file, out / name)
