"""Any causal language model: its prompts, its training by adapters, its engine."""

from contextlib import suppress

from solver.lm.load import FAILURES, import_bitsandbytes

with suppress(*FAILURES):  # before peft imports bitsandbytes, with PyTorch's compiler
    import_bitsandbytes()
