# make all: set up, then every study at the default scale.  make help lists the rest.
VENV ?= .venv
SUITABLE = import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))
PYTHON ?= $(firstword $(foreach name,python3.11 python3.12 python3,$(shell $(name) -c '$(SUITABLE)' 2>/dev/null && command -v $(name))))
CORES ?= all
SCALE ?= default
WORKERS ?= 2
# Small matrices: threads of one process only get into each other's way.
ONE_THREAD = OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 MKL_NUM_THREADS=1
PYTEST = $(ONE_THREAD) $(VENV)/bin/python -m pytest -n $(WORKERS) -q
STUDIES = neuronio delay_memory working_memory place_cells hypotheses long_range gradient_free
# What torch's CUDA build adds; the lock must fit the CPU build too.
CUDA_ONLY = ^(nvidia-|triton|cuda-)

.PHONY: all smoke test slow slurm lint lock setup clean help
.DELETE_ON_ERROR:

all: setup ## every study at the scale SCALE (default), on CORES cores (all)
	$(VENV)/bin/snakemake all --cores $(CORES) --config scale=$(SCALE)

smoke: ## every step of every study in minutes, to see that the parts fit together
	$(MAKE) all SCALE=smoke

test: setup ## the tests but for slow ones
	$(PYTEST) -m "not slow and not slurm"

slow: setup ## the slow tests
	$(PYTEST) -m "slow and not slurm"

slurm: setup ## the tests on a SLURM cluster of this machine, which root can install
	$(VENV)/bin/python -m pip install -qq --disable-pip-version-check -c requirements.lock ".[slurm]"
	$(ONE_THREAD) $(VENV)/bin/python -m pytest -q -m slurm

lint: setup ## ruff, and Snakemake's own linter
	$(VENV)/bin/ruff check
	$(VENV)/bin/python -m workflow.lint

setup: $(VENV)/.complete ## the environment in VENV (.venv)

$(VENV)/.complete: requirements.lock
	@test -n "$(PYTHON)" || { echo "Python 3.11 or 3.12 is needed, and was not found"; exit 1; }
	$(PYTHON) -m venv --clear $(VENV)
	$(VENV)/bin/python -m pip install -qq --disable-pip-version-check -r requirements.lock
	touch $@

# uv does not read pip's configuration, so the index that pip is told to use is handed on.
lock: ## requirements.lock anew from pyproject.toml
	folder=$$(mktemp -d) && trap 'rm -rf "$$folder"' EXIT && index=$$($(PYTHON) -m pip config get global.index-url 2>/dev/null || true) \
	&& $(PYTHON) -m venv "$$folder" && "$$folder/bin/python" -m pip install -qq --disable-pip-version-check uv \
	&& "$$folder/bin/uv" pip compile pyproject.toml --universal --python-version 3.11 --extra test --no-header --no-annotate \
		--quiet $${index:+--default-index "$$index"} --output-file "$$folder/lock" \
	&& grep -Ev '$(CUDA_ONLY)' "$$folder/lock" > "$$folder/kept" && cp "$$folder/kept" requirements.lock

clean: ## remove what the workflow made; the environment and compiled mechanisms stay
	rm -rf $(STUDIES:%=data/%) $(STUDIES:%=results/%) results/report.html results/report.log results/report.tsv .snakemake

help: ## this list
	@sed -n 's/^\([a-z]*\):.* ## /\1\t/p' $(MAKEFILE_LIST)
