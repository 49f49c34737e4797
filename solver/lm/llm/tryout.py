"""A process that checks that the kit can use a language model's architecture.

The model is built only from its configuration, twice. The whole model is built without memory. A
model of one layer with random weights decodes as in a worker. A model that no worker could use is
therefore known before a run starts. The exit status is 0, or `REFUSED` with one line that says why.
"""

from __future__ import annotations

import copy
import json
import sys
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from transformers import AutoConfig, AutoModelForCausalLM

from solver.grid import DataError
from solver.kit import CONFIG_FILE
from solver.lm.llm.causal import ContextModel
from solver.lm.llm.engine import verify
from solver.lm.llm.tune import linear_layers
from solver.lm.load import FAILURES, be_quiet, one_line
from solver.lm.ready import REFUSED, read_vocabulary
from solver.lm.settings import Settings, adapted, read
from solver.lm.vocabulary import Vocabulary

MAX_LAYER_PARAMETERS = 500_000_000  # of one layer; larger layers are not tried out


def main() -> None:
    """Try out the model in the settings, which the first argument has as JSON."""
    be_quiet()
    try:
        try_out(read(json.loads(sys.argv[1])))
    except DataError as error:
        print(error)
        sys.exit(REFUSED)


def try_out(settings: Settings) -> None:
    """Raise `DataError` for an architecture that the kit cannot use.

    The architecture cannot be built, lacks the layers that an adapter needs, or cannot decode. The
    last is not checked for very large layers.
    """
    path = Path(settings.model) / CONFIG_FILE
    torch.set_num_threads(1)
    try:
        config: Any = AutoConfig.from_pretrained(path.parent, local_files_only=True)
        with torch.device("meta"):
            whole = _built(config)
    except (*FAILURES, StrictDataclassError) as error:
        raise DataError(f"{path}: cannot be followed: {one_line(error)}") from None
    adapted(settings.targets, linear_layers(whole))
    layers = getattr(config, "num_hidden_layers", 1)
    if whole.num_parameters(exclude_embeddings=True) > MAX_LAYER_PARAMETERS * max(1, layers):
        return
    _ask(path, config, read_vocabulary(path.parent, settings.style), settings.max_seq_length)


def _built(config: Any) -> Any:
    """A model with random weights in float32, from its configuration."""
    of: Any = AutoModelForCausalLM.from_config
    return of(config, dtype=torch.float32)


def _ask(path: Path, config: Any, vocabulary: Vocabulary, length: int) -> None:
    """Decode with one layer, if the library can build a model of one layer.

    Raises `DataError` if decoding fails.
    """
    small = copy.deepcopy(config)
    small.num_hidden_layers, small.vocab_size = 1, len(vocabulary)
    if getattr(small, "layer_types", None):
        small.layer_types = small.layer_types[:1]
    small.pad_token_id = small.bos_token_id = small.eos_token_id = small.quantization_config = None
    torch.manual_seed(0)
    try:
        lm = _built(small)
    except (*FAILURES, StrictDataclassError):
        return  # the configuration has other numbers that must fit the number of layers
    try:
        verify(ContextModel(lm.eval(), vocabulary, length))
    except DataError as error:
        raise DataError(f"{path}: a {config.model_type} {error}") from None
    except FAILURES as error:
        raise DataError(
            f"{path}: a {config.model_type} cannot be decoded with here: {one_line(error)}"
        ) from None


if __name__ == "__main__":
    main()
