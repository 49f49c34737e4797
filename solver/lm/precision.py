"""The precision that a device computes fastest in."""

from __future__ import annotations

import os

import torch

from solver.machine import cpu_flags, multiplies_bfloat16

CPU = torch.device("cpu")


def fast_dtype(device: torch.device) -> torch.dtype:
    """The type bfloat16 if the device's hardware multiplies it, else float32."""
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(False) else torch.float32
    able = multiplies_bfloat16(cpu_flags(), os.environ)
    return torch.bfloat16 if able else torch.float32
