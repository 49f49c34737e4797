"""Programs written by a language model, run in the sandbox and revised."""
