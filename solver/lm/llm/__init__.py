"""Any causal language model: its prompts, its training by adapters, its engine."""
