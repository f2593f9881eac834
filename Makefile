# Targets for a machine that has nothing but Python 3.10 to 3.13. Each makes `.venv` itself.
#   make demo     simulate a heart, reconstruct it, compare with the truth -> demo-output/
#   make test     lint, types and all tests
#   make lint     the checks alone
#   make prior    train the bundled prior again (long)
#   make clean    remove what the other targets made
# Another Python: make test PYTHON=python3.12
# Linux without an NVIDIA GPU: torch's CPU build spares gigabytes of CUDA libraries:
#   make test PIP_FLAGS='--extra-index-url https://download.pytorch.org/whl/cpu'

PYTHON ?= python3
PIP_FLAGS ?=
N_PROCESSES ?= 2
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

N_PRIOR_SUBJECTS ?= 600
PRIOR_COHORT ?= prior-cohort
PRIOR ?= NISFCore/priors/phantom.safetensors

.PHONY: demo test lint prior clean
.DELETE_ON_ERROR:

demo: $(INSTALLED)
	$(BIN)/nisf demo --out demo-output

# One thread per process: several processes share the cores, and sums come out the same again.
test: lint
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(N_PROCESSES)

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# How the bundled prior was made; its header holds the same provenance.
prior: $(INSTALLED)
	$(BIN)/nisf simulate $(PRIOR_COHORT) --subjects $(N_PRIOR_SUBJECTS) --seed 1 \
	  --preset cohort --format nifti --workers $(N_PROCESSES)
	$(BIN)/nisf train $(PRIOR_COHORT) --out $(PRIOR) --config aligned --name "phantom hearts" --overwrite
	$(BIN)/nisf calibrate $(PRIOR)

clean:
	rm -rf $(VENV) build dist *.egg-info demo-output
	rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(INSTALLED): $(BIN)/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet $(PIP_FLAGS) -c constraints.txt -e '.[dev]'
	touch $@

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 10) <= sys.version_info < (3, 14))' || \
	  { echo "NISF needs Python 3.10 to 3.13; say which: make $(MAKECMDGOALS) PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }
