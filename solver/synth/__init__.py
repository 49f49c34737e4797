"""The program synthesizer: searches programs that reproduce every demonstration of a task.

Hot loops are compiled by numba on their first call and kept on disk (see `jit`): the first
process compiles for a minute or two, later ones start in under two seconds. Set
`NUMBA_CACHE_DIR` to choose the folder; a read-only package falls back to a temporary one.
"""
