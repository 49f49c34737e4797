"""The machine's memory, its library versions, and the GPUs that really compute."""

from __future__ import annotations

import ctypes
import os
import platform
import resource
import subprocess
import sys
from collections.abc import Collection, Mapping
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from solver.deadline import Deadline
from solver.launch import follow, last_words

STAND_INS = "ARC_KIT_GPUS"  # number of processes on the CPU that stand in for GPUs in a rehearsal
STAND_IN = "cpu"  # the beginning of their names
LIBRARIES = (
    *("numpy", "numba", "torch", "transformers", "peft"),
    *("torchao", "bitsandbytes", "unsloth"),
)
_MULTIPLY = (
    "import torch; a = torch.ones(256, 256, device='{device}', dtype=torch.float16); "
    "assert (a @ a).float().mean().item() == 256, 'it multiplies wrongly'"
)

# Processor flags of Linux for products in bfloat16, and values of the switches that keep the
# libraries oneDNN (which has two names) and ATen from using such products.
BFLOAT16_FLAGS = ("amx_bf16", "avx512_bf16")
_LESS = ("SSE41", "AVX", "AVX2", "AVX2_VNNI", "AVX2_VNNI_2", "AVX512_CORE", "AVX512_CORE_VNNI")
SWITCHES_OFF = {
    "ONEDNN_MAX_CPU_ISA": _LESS,
    "DNNL_MAX_CPU_ISA": _LESS,
    "ATEN_CPU_CAPABILITY": ("DEFAULT", "AVX2"),
}


def multiplies_bfloat16(flags: Collection[str], environment: Mapping[str, str]) -> bool:
    """True if a processor with these flags multiplies bfloat16 in hardware.

    False if a switch of oneDNN or ATen in the environment keeps these libraries from doing so.
    """
    switched_off = any(
        environment.get(name, "").upper() in values for name, values in SWITCHES_OFF.items()
    )
    return not switched_off and any(flag in flags for flag in BFLOAT16_FLAGS)


def cpu_flags() -> frozenset[str]:
    """The processor's flags as Linux lists them; empty where the system lists none."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return frozenset()
    told = (line.partition(":")[2].split() for line in lines if line.startswith("flags"))
    return frozenset(next(told, ()))


def versions() -> dict[str, str]:
    """Versions of Python and of the installed libraries that engines use; none is imported."""
    found = {"python": platform.python_version()}
    for name in LIBRARIES:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def available_mb() -> int:
    """Memory free for use, in MB; 0 where the system does not tell."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return 0
    return next((int(x.split()[1]) // 1024 for x in lines if x.startswith("MemAvailable")), 0)


def address_limit() -> int:
    """Bytes of addresses that the system allows this process (`ulimit -v`); 0 if it sets none."""
    limits = resource.getrlimit(resource.RLIMIT_AS)
    return min((limit for limit in limits if limit != resource.RLIM_INFINITY), default=0)


def give_back_memory() -> None:
    """Return freed memory to the system, where the C library can be asked to (glibc).

    The C library keeps freed memory for the next request. After 500 steps of training on tensors
    of changing sizes it keeps 8 GB, where the tensors need 2 GB.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def gpus() -> tuple[str, ...]:
    """The GPUs that the driver lists and this process may use, under their names in
    `CUDA_VISIBLE_DEVICES`.

    In a rehearsal, the names of stand-ins replace the names of GPUs. No GPU has such a name, so a
    worker finds no GPU and computes on the CPU.
    """
    if stand_ins := os.environ.get(STAND_INS):
        return tuple(f"{STAND_IN}{number}" for number in range(int(stand_ins)))
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


def idle_gpus() -> str:
    """The way to use the GPUs that a run on cores leaves idle, in one line; empty without a GPU."""
    found, built = len(gpus()), versions().get("torch")
    if not found:
        return ""
    devices = f" --devices {found}" if found > 1 else ""
    use = f"--profile gpu{devices} gives the model {'them' if found > 1 else 'it'}"
    if built is None or "+cpu" in built:
        plain = (built or "").partition("+")[0]
        version = f"torch=={plain}" if plain else "torch"
        use = f"a CUDA build of torch would use it: pip install {version}, without +cpu; then {use}"
    return f"{found} idle {'GPUs' if found > 1 else 'GPU'}: {use}"


def gpu_fault(device: str, deadline: Deadline) -> str | None:
    """The fault of a GPU; None if the GPU multiplies.

    A driver that lists a GPU may still have no code for this GPU. The test runs in a separate
    process, since it may hang or crash.
    """
    words: list[str] = []
    only = {"CUDA_VISIBLE_DEVICES": device}
    multiply = _MULTIPLY.format(device="cpu" if device.startswith(STAND_IN) else "cuda")
    code = follow([sys.executable, "-c", multiply], deadline, only, words.append)
    return None if code == 0 else last_words(words) or f"exit code {code}"
