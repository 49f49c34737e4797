"""Any causal language model: its prompts, its training by adapters, its engine."""

from solver.lm.load import import_bitsandbytes

import_bitsandbytes()  # before peft imports it, with PyTorch's compiler
