"""The quantized model: it loads like any other, can be trained, and says what is wrong with it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from solver.grid import DataError, Pair, as_grid
from solver.lm.load import from_folder
from solver.lm.pair.checkpoint import export
from solver.lm.pair.model import (
    CONFIG_FILE,
    WEIGHTS_FILE,
    Size,
    TaskModel,
    build,
    is_quantized,
    load,
)
from solver.lm.pair.quantize import quantize
from solver.lm.symbols import Batch, collate, encode
from solver.lm.training.loop import Recipe, Trainer, measure
from tests.control import yardstick_s
from tests.runs import ROOT

BUNDLE = ROOT / "models" / "pair"
PAIRS = [
    Pair(as_grid([[1, 2, 3], [4, 5, 6]]), as_grid([[7, 8], [9, 0]])),
    Pair(as_grid([[0, 3]]), as_grid([[3], [0]])),
]
# Refuses every socket, and to write anywhere but in $TMPDIR, where torch keeps its caches.
GUARD = """
import os, sys
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT
def guard(event, args):
    written = event == "os.mkdir" or event == "open" and isinstance(args[2], int) and (
        args[2] & WRITES and args[0] != "/dev/null"
    )
    here = written and str(args[0]).startswith(os.environ["TMPDIR"])
    if event.startswith("socket.") or (written and not here):
        os.write(2, f"forbidden: {event} {args}".encode())
        os._exit(9)
sys.addaudithook(guard)
"""


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A small model, plain and quantized."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("models")
    export(folder / "plain", TaskModel(build(Size(64, 2), 0), 1).to(torch.bfloat16))
    quantize(folder / "plain", folder / "small")
    return folder / "plain", folder / "small"


@pytest.fixture
def small(folders: tuple[Path, Path], tmp_path: Path) -> Path:
    """A copy of the quantized model to do harm to."""
    for name in (CONFIG_FILE, WEIGHTS_FILE):
        (tmp_path / name).write_bytes((folders[1] / name).read_bytes())
    return tmp_path


def batch() -> Batch:
    return collate([encode(pair, 0) for pair in PAIRS], [0, 0])


def test_it_is_small_and_computes_nearly_the_same(folders: tuple[Path, Path]) -> None:
    plain, small = (TaskModel(load(folder), 1) for folder in folders)
    stored = [(folder / WEIGHTS_FILE).stat().st_size for folder in folders]
    assert stored[1] < 0.6 * stored[0]
    before, after = (measure(model, [batch()])[0] for model in (plain, small))
    assert before != after == pytest.approx(before, rel=0.05)


def test_the_same_weights_give_the_same_files(folders: tuple[Path, Path], tmp_path: Path) -> None:
    plain, small = folders
    quantize(plain, tmp_path)
    assert sorted(os.listdir(tmp_path)) == sorted([CONFIG_FILE, WEIGHTS_FILE])
    for name in (CONFIG_FILE, WEIGHTS_FILE):
        assert (tmp_path / name).read_bytes() == (small / name).read_bytes()
    with pytest.raises(DataError, match=r"config\.json: quantized already"):
        quantize(small, tmp_path)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32], ids=str)
def test_dequantized_it_trains_whole(folders: tuple[Path, Path], dtype: torch.dtype) -> None:
    lm = load(folders[1], dtype)
    assert is_quantized(folders[1])
    assert {p.dtype for p in lm.parameters()} == {lm.dtype} == {dtype}
    trainer = Trainer(TaskModel(lm, 1), Recipe(warmup=1))
    before = {name: p.clone() for name, p in trainer.masters.items()}
    trainer.step(batch(), 1.0)
    trainer.step(batch(), 1.0)
    still = [n for n, p in trainer.masters.items() if torch.equal(p, before[n])]
    assert still == []
    export(folders[0].parent / "again", trainer.model)
    assert not is_quantized(folders[0].parent / "again")


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32], ids=str)
def test_weights_are_those_of_the_library(folders: tuple[Path, Path], dtype: torch.dtype) -> None:
    theirs, _ = from_folder(folders[1], dtype=dtype)
    expected = theirs.dequantize(dtype).state_dict()
    found = load(folders[1], dtype).state_dict()
    assert found.keys() == expected.keys()
    for name, weight in expected.items():
        torch.testing.assert_close(found[name], weight, msg=name)


@pytest.mark.parametrize("length", [0, 100, 30_000])
def test_a_torn_file_is_named(small: Path, length: int) -> None:
    (small / WEIGHTS_FILE).write_bytes((small / WEIGHTS_FILE).read_bytes()[:length])
    with pytest.raises(DataError, match=r"model\.safetensors: cannot be loaded"):
        load(small)


@pytest.mark.parametrize("text", ["null", "{}", '{"sha256": "00"}'])
def test_weights_that_are_not_those_of_the_provenance_are_refused(small: Path, text: str) -> None:
    (small / "provenance.json").write_text(text)
    with pytest.raises(DataError, match=r"model\.safetensors: corrupt: not the file"):
        load(small)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("vocab_size", 50_000),
        ("model_type", "llama"),
        ("num_hidden_layers", "x"),
        ("num_hidden_layers", 10**9),
        ("hidden_act", "none"),
        ("dtype", "none"),
        ("hidden_size", 96),
        ("intermediate_size", 128),
        ("head_dim", 32),
        ("quantization_config", 3),
        ("quantization_config", None),
        ("quantization_config", {}),
        ("quantization_config", {"quant_method": "gptq", "bits": 4}),
        ("quantization_config", {"quant_method": "bitsandbytes", "load_in_4bit": "x"}),
    ],
)
def test_a_configuration_that_does_not_fit_is_one_line(
    small: Path, field: str, value: object
) -> None:
    config = json.loads((small / CONFIG_FILE).read_text())
    (small / CONFIG_FILE).write_text(json.dumps({**config, field: value}))
    with pytest.raises(DataError) as error:
        load(small)
    assert str(error.value).startswith((str(small / CONFIG_FILE), str(small / WEIGHTS_FILE)))
    assert "\n" not in str(error.value)


def in_a_new_process(code: str, scratch: Path) -> list[str]:
    """The output of a new process without a home or a network, and with one folder to write in."""
    environment = {"HOME": "/proc/none", "TMPDIR": str(scratch), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-B", "-c", GUARD + code],
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.split()


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_bundle_loads_anywhere_fast_and_in_little_memory(tmp_path: Path) -> None:
    code = f"""
import time
from solver.lm.pair.model import load
lm = load({str(BUNDLE)!r})
status = open("/proc/self/status").read()  # getrusage would count the process that forked
print(lm.dtype, time.process_time(), status.split("VmHWM:")[1].split()[0])
"""
    precision, seconds, memory = in_a_new_process(code, tmp_path)
    assert precision == "torch.bfloat16"
    assert float(seconds) < 200 * yardstick_s()  # it takes 30 to 110
    assert int(memory) * 1024 < 600e6
