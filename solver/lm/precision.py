"""A worker's device, and the precision that a device computes fastest in."""

from __future__ import annotations

import os

import torch

from solver.engines import Context
from solver.machine import cpu_flags, multiplies_bfloat16

CPU = torch.device("cpu")


def own_device(context: Context) -> torch.device:
    """The device of a worker: its own GPU, or the CPU for a worker on a core.

    A worker on a device sees no other device. A worker on a core may see all of them, and never
    uses one. Without a GPU, a worker on a device computes on the CPU.
    """
    usable = context.device and torch.cuda.is_available()
    return torch.device("cuda") if usable else CPU


def fast_dtype(device: torch.device) -> torch.dtype:
    """The type bfloat16 if the device's hardware multiplies it, else float32."""
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(False) else torch.float32
    able = multiplies_bfloat16(cpu_flags(), os.environ)
    return torch.bfloat16 if able else torch.float32
