#!/bin/sh
# Runs the tests of the unsloth backend in an environment of its own, build/unsloth: unsloth pins
# packages that this checkout has in other versions, so it is installed with --no-deps, above the
# checkout's own packages. Needs `make` to have set up .venv (or PYTHON), and a network.
set -eu
cd "$(dirname "$0")/.."
PYTHON=${PYTHON:-.venv/bin/python}
HOME_OF=build/unsloth

packages() { "$1" -c 'import sysconfig; print(sysconfig.get_path("purelib"))'; }

"$PYTHON" -m venv "$HOME_OF"
packages "$PYTHON" > "$(packages "$HOME_OF/bin/python")/kit.pth"
"$HOME_OF/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps \
	unsloth==2026.10.9 unsloth_zoo==2026.10.9 trl==1.15.0 datasets diffusers pyarrow pandas \
	dill multiprocess xxhash aiohttp tyro docstring_parser typeguard shtab msgspec \
	sentencepiece protobuf hf_transfer cut_cross_entropy structlog json5 nest_asyncio \
	pydantic pydantic_core annotated_types typing_inspection
HF_HUB_OFFLINE=1 TRANSFORMERS_OFFLINE=1 UNSLOTH_DISABLE_STATISTICS=1 OMP_NUM_THREADS=1 \
	PYTHONPATH=. "$HOME_OF/bin/python" -m pytest -W ignore -rA tests/lm/test_unsloth.py
