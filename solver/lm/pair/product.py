"""Products of matrices on a CPU, by the library that is fast on the CPU.

PyTorch multiplies float32 matrices with MKL. On AMD's processors, MKL reaches half the speed of
numpy's OpenBLAS. The choice depends only on the processor and on OpenBLAS's number of threads, so
rounding is the same in every run.
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
    """Multiply matrices (..., M, K) and (..., K, N) in the precision of `b`. Returns float32.

    Call this function only where autograd is off, since numpy's product has no gradient.
    """
    if b.dtype == torch.float32 and a.dtype == torch.float32 and by_numpy():
        return torch.from_numpy(np.matmul(a.numpy(), b.numpy()))
    return torch.matmul(a.to(b.dtype), b).float()


@functools.cache
def by_numpy() -> bool:
    """True on an AMD processor if `OPENBLAS_NUM_THREADS` is 1."""
    if os.environ.get("OPENBLAS_NUM_THREADS") != "1":
        return False
    try:
        return "AuthenticAMD" in CPU_INFO.read_text("utf-8")
    except OSError:
        return False
