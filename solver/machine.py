"""What this machine has: memory, and GPUs that really compute."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from pathlib import Path

from solver.deadline import Deadline
from solver.launch import follow, last_words

_MULTIPLY = (
    "import torch; a = torch.ones(256, 256, device='cuda', dtype=torch.float16); "
    "assert (a @ a).float().mean().item() == 256, 'it multiplies wrongly'"
)


def available_mb() -> int:
    """Memory free for use; 0 where the system does not tell."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return 0
    return next((int(x.split()[1]) // 1024 for x in lines if x.startswith("MemAvailable")), 0)


def give_back_memory() -> None:
    """Return freed memory to the system, where the C library can be asked to (glibc).

    It keeps what was freed for the next who asks: 8 GB after 500 steps of training on tensors of
    ever other sizes that need two.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def gpus() -> tuple[str, ...]:
    """The GPUs that the driver names and this process may use, as `CUDA_VISIBLE_DEVICES` names
    them."""
    try:
        listed = subprocess.run(
            ["nvidia-smi", "-L"], capture_output=True, text=True, timeout=60, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ()
    found = sum(line.startswith("GPU ") for line in listed.stdout.splitlines())
    allowed = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = map(str, range(found)) if allowed is None else allowed.split(",")[:found]
    return tuple(filter(None, names))


def gpu_fault(device: str, deadline: Deadline) -> str | None:
    """What is wrong with a GPU, None if it multiplies. A driver that lists a GPU may still have
    no code for it; asked in a process of its own, since that may hang or crash."""
    words: list[str] = []
    only = {"CUDA_VISIBLE_DEVICES": device}
    code = follow([sys.executable, "-c", _MULTIPLY], deadline, only, words.append)
    return None if code == 0 else last_words(words) or f"exit code {code}"
