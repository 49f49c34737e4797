"""Loading a language model from a local folder: unchanged, or in four or eight bits.

`load_causal` tries the requested way first, then without unsloth, then without quantization.
Each change of the way is a line in the log. A checkpoint that is quantized on disk keeps its
quantization. A checkpoint that cannot be loaded is a `DataError` that names the file.
"""

from __future__ import annotations

import importlib
import logging
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import torch
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from transformers import AutoModelForCausalLM, BitsAndBytesConfig
from transformers.utils.logging import disable_progress_bar, set_verbosity_error

from solver.grid import DataError
from solver.kit import CONFIG_FILE, WEIGHTS_FILE
from solver.ladder import is_out_of_memory
from solver.lm.precision import fast_dtype
from solver.lm.ready import quantized_by
from solver.lm.settings import Checkpoint

log = logging.getLogger("solver")
Made = TypeVar("Made")
# Errors that libraries raise for a checkpoint or a machine that they do not support.
FAILURES = (
    *(ImportError, RuntimeError, OSError),
    *(ValueError, TypeError, AttributeError, LookupError),
)


def _as_it_is(lm: Any) -> Any:
    return lm


def load_causal(
    checkpoint: Checkpoint, device: torch.device, finish: Callable[[Any], Made] = _as_it_is
) -> Made:
    """The language model of a checkpoint on a device, or the result of `finish` for the model.

    The model is in the fastest precision of the device (`fast_dtype`). An error of `finish` counts
    as a failure of the way that loaded the model. If every way fails, raises the error of the last
    way: a `DataError`, or an error of `finish`. A lack of memory is raised at once.
    """
    ways = list(_ways(checkpoint))
    for way, after in zip(ways, [*ways[1:], None], strict=True):
        try:
            made = finish(LOADERS[way.backend](way, device))
        except FAILURES as error:
            if after is None or is_out_of_memory(error):  # other ways take no less memory
                raise
            log.warning("%s: not as %s: %s; now as %s", *_names(way, error, after))
        else:
            log.info("%s: loaded as %s", way.model, _name(way))
            return made
    raise AssertionError("the last way returns or raises")


def _ways(checkpoint: Checkpoint) -> Iterator[Checkpoint]:
    """The requested way, then the same without unsloth, then also without quantization."""
    yield checkpoint
    if checkpoint.backend != "transformers":
        checkpoint = replace(checkpoint, backend="transformers")
        yield checkpoint
    if checkpoint.quantization != "none":
        yield replace(checkpoint, quantization="none")


def _names(way: Checkpoint, error: Exception, after: Checkpoint) -> tuple[str, str, str, str]:
    return way.model, _name(way), one_line(error), _name(after)


def _name(way: Checkpoint) -> str:
    quantized = "" if way.quantization == "none" else f", {way.quantization}"
    return f"{way.backend}{quantized}"


def _with_transformers(checkpoint: Checkpoint, device: torch.device) -> Any:
    path = Path(checkpoint.model)
    options: dict[str, Any] = {"dtype": fast_dtype(device), "device_map": {"": device}}
    if checkpoint.quantization != "none" and not quantized_by(path):
        import_bitsandbytes()
        options["quantization_config"] = quantization(checkpoint.quantization, options["dtype"])
    lm, info = from_folder(path, **options)
    wrong = sorted(map(str, [*info["missing_keys"], *info["mismatched_keys"]]))
    if wrong:
        raise DataError(f"{path}: weights of another model: {wrong[0]}")
    return lm


def _with_unsloth(checkpoint: Checkpoint, device: torch.device) -> Any:
    """The model as unsloth loads it.

    unsloth writes compiled code into a folder. Each process gets another folder, since processes
    must not share a folder.
    """
    own = Path(tempfile.gettempdir()) / f"unsloth_cache_{os.getpid()}"
    os.environ["UNSLOTH_COMPILE_LOCATION"] = str(own)
    unsloth: Any = importlib.import_module("unsloth")
    lm, _ = unsloth.FastLanguageModel.from_pretrained(
        model_name=checkpoint.model,
        max_seq_length=checkpoint.max_seq_length,
        dtype=fast_dtype(device),
        load_in_4bit=checkpoint.quantization == "nf4",
        load_in_8bit=checkpoint.quantization == "int8",
        local_files_only=True,
    )
    return settled(lm)


LOADERS = {"transformers": _with_transformers, "unsloth": _with_unsloth}


def import_bitsandbytes() -> None:
    """Import bitsandbytes without PyTorch's compiler. Raises what the library raises.

    During its import the library passes two of its operations to `torch.compile`, which imports
    the compiler. On two cores that takes 3 s of the import's 5 s of processor time. The kit calls
    neither operation.
    """
    compile_ = torch.compile
    torch.compile = lambda model=None, **_: model or (lambda function: function)  # type: ignore
    try:
        importlib.import_module("bitsandbytes")
    finally:
        torch.compile = compile_


def from_folder(path: Path, **options: Any) -> tuple[Any, dict[str, Any]]:
    """A causal language model from local files only, and the library's report about its weights.

    The report lists weights that are missing, unexpected or of another shape. Raises `DataError`
    naming the configuration or the weights if the library cannot use them. A lack of memory is
    raised unchanged.
    """
    be_quiet()
    with suppress(*FAILURES):  # a model that is not quantized needs no bitsandbytes
        import_bitsandbytes()
    try:
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            path, local_files_only=True, output_loading_info=True, **options
        )
    except (StrictDataclassError, AttributeError, ImportError, LookupError, TypeError) as error:
        raise DataError(f"{path / CONFIG_FILE}: cannot be followed: {one_line(error)}") from None
    except (SafetensorError, OSError, RuntimeError, ValueError) as error:
        if is_out_of_memory(error):
            raise
        raise DataError(f"{path / WEIGHTS_FILE}: cannot be loaded: {one_line(error)}") from None
    lm, info = loaded
    return settled(lm), info


def settled(lm: Any) -> Any:
    """Let quantized layers compute in the model's precision and keep their weights' layout.

    On processors with AVX512-BF16 the library changes the layout of the weights in a forward pass
    without gradients. Gradients through the changed layout, and files saved from it, are wrong.
    """
    layer: Any
    for layer in lm.modules():
        if hasattr(layer, "support_avx512bf16_for_cpu"):
            layer.support_avx512bf16_for_cpu = False
            layer.compute_dtype = lm.dtype
    return lm


def one_line(error: Exception) -> str:
    """The text of an error in one line of at most 200 characters, or the name of its class."""
    return " ".join(str(error).split())[:200] or type(error).__name__


def quantization(name: str, dtype: torch.dtype) -> BitsAndBytesConfig:
    """The options of bitsandbytes for `int8` or `nf4`. `dtype`: the precision of nf4's products."""
    if name == "int8":
        return BitsAndBytesConfig(load_in_8bit=True)  # type: ignore[no-untyped-call]
    return BitsAndBytesConfig(  # type: ignore[no-untyped-call]
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=dtype
    )


def be_quiet() -> None:
    """Silence the libraries. Standard error is for the user, not for hints about kernels."""
    disable_progress_bar()  # type: ignore[no-untyped-call]
    set_verbosity_error()  # type: ignore[no-untyped-call]
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
