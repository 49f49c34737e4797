"""A user's causal language model: prompts, training by adapters, engine."""

from contextlib import suppress

from solver.lm.load import FAILURES, import_bitsandbytes

with suppress(*FAILURES):  # before peft imports bitsandbytes, with PyTorch's compiler
    import_bitsandbytes()
