"""A process that tries out whether the kit can work with a language model's architecture.

The model is built from its configuration alone: whole, without memory, and as one layer with
random weights, which is asked what a worker asks of the loaded one. So what no worker could use is
known before a run starts. Ends with `REFUSED`, and a line that says why, or with 0.
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
from solver.kit import CONFIG
from solver.lm.llm.causal import ContextModel
from solver.lm.llm.engine import verify
from solver.lm.llm.tune import linear_layers
from solver.lm.load import FAILURES, be_quiet, one_line
from solver.lm.ready import REFUSED, read_vocabulary
from solver.lm.settings import Settings, adapted, read
from solver.lm.vocabulary import Vocabulary

MAX_LAYER_PARAMETERS = 500_000_000  # of one layer that is tried out


def main() -> None:
    """Try out the model that the settings in the first argument name, as JSON."""
    be_quiet()
    try:
        try_out(read(json.loads(sys.argv[1])))
    except DataError as error:
        print(error)
        sys.exit(REFUSED)


def try_out(settings: Settings) -> None:
    """Raise `DataError` for an architecture that cannot be built, has not the layers that an
    adapter is for, or cannot be decoded with."""
    path = Path(settings.model) / CONFIG
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
    """A model with random weights."""
    of: Any = AutoModelForCausalLM.from_config
    return of(config, dtype=torch.float32)


def _ask(path: Path, config: Any, vocabulary: Vocabulary, length: int) -> None:
    """Decode with one layer, if the library can make a model of one."""
    small = copy.deepcopy(config)
    small.num_hidden_layers, small.vocab_size = 1, len(vocabulary)
    if getattr(small, "layer_types", None):
        small.layer_types = small.layer_types[:1]
    small.pad_token_id = small.bos_token_id = small.eos_token_id = small.quantization_config = None
    torch.manual_seed(0)
    try:
        lm = _built(small)
    except (*FAILURES, StrictDataclassError):
        return  # other numbers must fit that of layers
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
