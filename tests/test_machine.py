"""Abilities of the machine: asked of the system, and of the variables for its libraries."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from solver.machine import BFLOAT16_FLAGS, cpu_flags, idle_gpus, multiplies_bfloat16
from tests.runs import ROOT

SAPPHIRE_RAPIDS = {"avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_tile"}
ZEN_4 = {"avx2", "avx512f", "avx512_vnni", "avx512_bf16"}
CASCADE_LAKE = {"avx2", "avx512f", "avx512_vnni"}
ZEN_3 = {"avx2"}


@pytest.mark.parametrize(
    ("flags", "able"),
    [(SAPPHIRE_RAPIDS, True), (ZEN_4, True), (CASCADE_LAKE, False), (ZEN_3, False), (set(), False)],
)
def test_bfloat16_is_multiplied_where_the_processor_says_so(flags: set[str], able: bool) -> None:
    assert multiplies_bfloat16(flags, {}) == able
    assert multiplies_bfloat16(flags, {"ONEDNN_MAX_CPU_ISA": "ALL"}) == able


@pytest.mark.parametrize(
    ("switch", "value", "able"),
    [
        ("ONEDNN_MAX_CPU_ISA", "AVX2", False),
        ("ONEDNN_MAX_CPU_ISA", "avx512_core_vnni", False),
        ("DNNL_MAX_CPU_ISA", "AVX512_CORE", False),
        ("ATEN_CPU_CAPABILITY", "avx2", False),
        ("ATEN_CPU_CAPABILITY", "default", False),
        ("ATEN_CPU_CAPABILITY", "avx512", True),
        ("ONEDNN_MAX_CPU_ISA", "AVX512_CORE_BF16", True),
        ("ONEDNN_MAX_CPU_ISA", "AVX512_CORE_AMX", True),
    ],
)
def test_switches_of_the_libraries_count(switch: str, value: str, able: bool) -> None:
    assert multiplies_bfloat16(SAPPHIRE_RAPIDS, {switch: value}) == able
    assert not multiplies_bfloat16(ZEN_3, {switch: value})


ASK = """
import torch
from solver.lm.precision import fast_dtype
print(fast_dtype(torch.device("cpu")))
if hasattr(torch.cpu, "get_capabilities"):
    del torch.cpu.get_capabilities
print(fast_dtype(torch.device("cpu")))
"""


@pytest.mark.parametrize("switches", [{}, {"ONEDNN_MAX_CPU_ISA": "AVX2"}], ids=["as it is", "avx2"])
def test_the_precision_of_this_machine(switches: dict[str, str]) -> None:
    """torch 2.10 cannot be asked for the processor's capabilities, and comes to the same."""
    done = subprocess.run(
        [sys.executable, "-c", ASK],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **switches},
        capture_output=True,
        text=True,
        check=True,
    )
    able = not switches and not cpu_flags().isdisjoint(BFLOAT16_FLAGS)
    assert done.stdout.split() == 2 * ["torch.bfloat16" if able else "torch.float32"]


def test_idle_gpus_are_named_with_the_way_to_use_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The driver's own command is a script here, which lists GPUs as the driver does."""
    script = tmp_path / "nvidia-smi"
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert idle_gpus() == ""
    script.write_text("#!/bin/sh\necho 'GPU 0: NVIDIA L4 (UUID: GPU-1)'\n")
    script.chmod(0o755)
    line = idle_gpus()
    assert line.startswith("1 idle GPU: ")
    assert line.endswith("--profile gpu gives the model it")
    torch = version("torch")
    if "+cpu" in torch:
        assert f"pip install torch=={torch.removesuffix('+cpu')}, without +cpu" in line
    script.write_text(script.read_text() + "echo 'GPU 1: NVIDIA L4 (UUID: GPU-2)'\n")
    assert idle_gpus().endswith("--profile gpu --devices 2 gives the model them")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert idle_gpus() == ""
