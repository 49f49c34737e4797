"""The program synthesizer: searches programs that reproduce every demonstration of a task.

Hot loops are compiled by numba on their first call and kept on disk (see `jit`). The first
process compiles for a minute or two; later processes start in under two seconds. Set
`NUMBA_CACHE_DIR` to choose the folder. A read-only package falls back to a temporary folder.
"""
