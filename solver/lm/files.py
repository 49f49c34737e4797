"""The files of a language model's checkpoint, read by their headers without loading weights."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from solver.data.jsonio import load_json
from solver.grid import DataError
from solver.kit import CONFIG_FILE, WEIGHTS_FILE

INDEX = "model.safetensors.index.json"
ADAPTER_CONFIG = "adapter_config.json"  # peft's
# Weights in other formats, which may contain code or need another reader.
OTHERS = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.gguf", "*.msgpack", "*.h5")
_ABOUT = "__metadata__"  # the only entry of a header that is not a tensor
_STATE = re.compile(r"(.+)\.quant_state\.bitsandbytes__\w+")
_IN_LAYER = re.compile(r"\.(\d+)\..*?([^.]+)\.(weight|qweight|weight_packed)$")


@dataclass(frozen=True)
class Tensor:
    """A tensor in a safetensors file.

    shape: for a packed weight of bitsandbytes, the shape of the unpacked weight.
    size: number of bytes in the file.
    """

    name: str
    shape: tuple[int, ...]
    size: int


def read_config(folder: Path) -> dict[str, Any]:
    """The configuration of a checkpoint.

    Raises `DataError` for a folder that contains something else. The error names an adapter, a
    cache or another format of weights.
    """
    path = folder / CONFIG_FILE
    if not path.exists():
        _say_what_it_is(folder)
    config = load_json(path)
    if not isinstance(config, dict):
        raise DataError(f"{path}: no configuration of a language model")
    return config


def _say_what_it_is(folder: Path) -> None:
    if (folder / ADAPTER_CONFIG).exists():
        about = load_json(folder / ADAPTER_CONFIG)
        base = about.get("base_model_name_or_path") if isinstance(about, dict) else None
        raise DataError(
            f"{folder}: an adapter of {base or 'an unnamed model'}, no whole model: "
            "merge the two (merge_and_unload of peft), save that, and name its folder"
        )
    snapshots = sorted(folder.glob("snapshots/*/" + CONFIG_FILE))
    if snapshots:
        raise DataError(f"{folder}: a cache, which holds the model in {snapshots[-1].parent}")
    _refuse_others(folder)


def tensors_of(folder: Path) -> Iterator[Tensor]:
    """Every tensor of a checkpoint, from the files' headers.

    If one whole file of weights exists, the index of shards is ignored, as in the library.
    Raises `DataError` naming a file that is missing, torn, not safetensors, or of another
    checkpoint.
    """
    if (folder / WEIGHTS_FILE).exists() or not (folder / INDEX).exists():
        if not (folder / WEIGHTS_FILE).exists():
            _refuse_others(folder)
        yield from _header(folder / WEIGHTS_FILE)
        return
    index = load_json(folder / INDEX)
    places = index.get("weight_map") if isinstance(index, dict) else None
    if not isinstance(places, dict):
        raise DataError(f"{folder / INDEX}: names no files")
    for file in sorted(set(map(str, places.values()))):
        tensors = _header(folder / file)
        lacking = {name for name, place in places.items() if place == file}
        lacking -= {tensor.name for tensor in tensors}
        if lacking:
            raise DataError(f"{folder / file}: has no {min(lacking)}, which {INDEX} places there")
        yield from tensors


def _header(path: Path) -> list[Tensor]:
    """The tensors in a file's header.

    Raises `DataError` if the file cannot be read, is not safetensors, or does not have the length
    that the header gives.
    """
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            size = path.stat().st_size
            header = json.loads(file.read(length)) if length < size else {}
            places = {name: t["data_offsets"] for name, t in header.items() if name != _ABOUT}
            whole = 8 + length + max((end for _, end in places.values()), default=0)
            if size != whole or not header:
                raise DataError(f"{path}: torn: {size} bytes where {whole} belong")
            shapes = {name: tuple(header[name]["shape"]) for name in places}
            shapes |= dict(_unpacked(file, 8 + length, places))
            return [
                Tensor(name, shapes[name], end - start) for name, (start, end) in places.items()
            ]
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from None
    except (ValueError, KeyError, TypeError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{path}: no safetensors file") from None


def _unpacked(
    file: BinaryIO, begin: int, places: Mapping[str, tuple[int, int]]
) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Names and unpacked shapes of packed weights of bitsandbytes.

    Each packed weight's shape is stored as JSON in another entry of the same file. `begin`: the
    byte at which the file's data begins. `places`: the range of each entry's bytes in the data.
    """
    for name, (start, end) in places.items():
        if (packed := _STATE.fullmatch(name)) and packed[1] in places:
            file.seek(begin + start)
            yield packed[1], tuple(json.loads(file.read(end - start))["shape"])


def _refuse_others(folder: Path) -> None:
    """Raise `DataError` for weights in a format that is not read."""
    for pattern in OTHERS:
        if found := sorted(folder.glob(pattern)):
            raise DataError(
                f"{found[0]}: weights are read from safetensors only: convert them "
                "(save_pretrained of transformers writes it)"
            )


def linear_weights(tensors: Collection[Tensor]) -> dict[str, list[Tensor]]:
    """The weight matrices of a decoder's layers, by the last part of a name, such as `q_proj`."""
    found: dict[str, list[Tensor]] = {}
    for tensor in tensors:
        if len(tensor.shape) == 2 and (place := _IN_LAYER.search(tensor.name)):
            found.setdefault(place[2], []).append(tensor)
    return found
