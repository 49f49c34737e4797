# Everything needs nothing but Python 3.11 or 3.12: the first target sets the rest up.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# More processes than the two cores that every machine has: many of them only wait.
PYTEST := -m pytest -n 3 --dist loadfile --no-loadscope-reorder
PACKAGES := $(VENV)/.packages
READY := $(VENV)/.ready
PIP := $(BIN)/pip install -qq --disable-pip-version-check
TORCH_CPU := $(shell cat offline_wheels/torch-cpu-index.txt)

# A user's settings for pip say where packages come from. Those that say where they go, or what a
# package must be, are for another use of pip: PIP_TARGET would leave the environment empty.
PIP_SOURCES := $(addprefix PIP_,INDEX_URL EXTRA_INDEX_URL FIND_LINKS NO_INDEX CONFIG_FILE \
	CACHE_DIR NO_CACHE_DIR CERT CLIENT_CERT TRUSTED_HOST PROXY KEYRING_PROVIDER NO_INPUT \
	TIMEOUT DEFAULT_TIMEOUT RETRIES)
unexport $(filter-out $(PIP_SOURCES),$(filter PIP_%,$(.VARIABLES)))

.PHONY: solve test coverage nightly lint answers rehearse lock clean

solve: $(READY)  ## solve 40 public evaluation tasks on this machine, at most 10 minutes
	$(BIN)/arcsub solve arc-agi-1:evaluation --tasks 40 --budget 10m

test: $(READY)  ## every test
	$(BIN)/python $(PYTEST)

coverage: $(READY)  ## every test, and the lines of solver/ and submission/ that none reaches
	$(BIN)/coverage erase
	-$(BIN)/coverage run $(PYTEST)
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

nightly: $(READY)  ## every test, with many more examples and other ones each time
	ARC_KIT_NIGHTLY=1 $(BIN)/python $(PYTEST)

# Tasks whose rule is one step, so that a minute must do for some of them on any machine.
SIMPLE := 67a3c6ac,74dd1130,3c9b0459,c8f0f002,a416b8f3,68b16354

rehearse: $(READY)  ## build the notebook and run it as Kaggle would, for a minute
	$(BIN)/arcsub rehearse --source arc-agi-1:training --tasks $(SIMPLE) --budget 60s --at-least 1

answers: $(READY)  ## each engine must solve a few training tasks, on this processor and an older one
	$(BIN)/python scripts/answers.py

lint: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

$(PACKAGES): torch.lock requirements.lock setup.cfg pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(v not in {(3, 11), (3, 12)} and f"Python 3.11 or 3.12 is needed, this is {v[0]}.{v[1]}: make PYTHON=python3.12")'
	$(PYTHON) -m venv --clear $(VENV)
	@echo 'installing the locked packages: half a GB, a few minutes'
	$(PIP) --no-deps --require-hashes -r torch.lock 2>/dev/null \
		|| $(PIP) --no-deps --require-hashes -r torch.lock --extra-index-url $(TORCH_CPU)
	$(PIP) --no-deps --require-hashes -r requirements.lock
	$(PIP) --no-deps --no-build-isolation --editable .
	$(BIN)/pip check
	@touch $@

$(READY): $(PACKAGES) $(wildcard solver/synth/*.py solver/synth/*/*.py)
	@$(BIN)/python -m solver.synth.compiling
	@touch $@

lock:  ## resolve requirements.lock anew (needs uv)
	uv pip compile --quiet --universal --python-version 3.11 --all-extras \
		--no-emit-package torch --generate-hashes --no-header --no-emit-index-url \
		--output-file requirements.lock setup.cfg

clean:
	rm -rf $(VENV) *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage*
