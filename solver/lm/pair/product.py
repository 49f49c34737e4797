"""Products of matrices on a processor, by the library that is fast there.

PyTorch multiplies float32 matrices with MKL, which on AMD's processors reaches half of the speed
of numpy's OpenBLAS. The choice depends only on the processor, so that rounding is the same in
every run.
"""

from __future__ import annotations

import functools
import os
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

CPU_INFO = Path("/proc/cpuinfo")


def product(a: Tensor, b: Tensor) -> Tensor:
    """Multiply matrices (..., M, K) and (..., K, N) in the precision of `b`; float32 comes out.

    No gradient flows through it.
    """
    if b.dtype == torch.float32 and a.dtype == torch.float32 and by_numpy():
        return torch.from_numpy(np.matmul(a.numpy(), b.numpy()))
    return torch.matmul(a.to(b.dtype), b).float()


@functools.cache
def by_numpy() -> bool:
    """Return True on AMD's processors, where OpenBLAS has been told to start no threads."""
    if os.environ.get("OPENBLAS_NUM_THREADS") != "1":
        return False
    try:
        return "AuthenticAMD" in CPU_INFO.read_text("utf-8")
    except OSError:
        return False
