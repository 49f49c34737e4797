"""The synthesizer: its language, learners and kernels."""
