# `make run` and `make test` need nothing but Python 3.11 or newer.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

# One thread a process. JAX's compiled programs, which are the same bits when they are compiled anew, are kept.
TESTING := OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 MKL_NUM_THREADS=1 JAX_COMPILATION_CACHE_DIR=$(CURDIR)/$(VENV)/jax \
	JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS=0 JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES=-1

.PHONY: install run test sweep slow mutants ceilings soak soak-networks fuzz gallery benchmarks benchmarks-check vectorization wheel matrix docs pages atlas check format clean

install: $(INSTALLED)

# Written last, so that an installation that was broken off is made again.
$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; assert sys.version_info >= (3, 11), "Python 3.11 or newer is needed: make PYTHON=..."'
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[all,dev]'
	touch $(INSTALLED)

# The main job: the default suite over all four implementations.
run: install
	$(BIN)/conformance run

# Everything but the long tests, in two processes; a file's tests stay together, as does what they import.
test: install
	$(TESTING) $(BIN)/python -m pytest -m 'not slow' -n 2 --dist loadfile

# Every formulation alone and every allowed pair of them, in all four implementations.
sweep: install
	$(BIN)/conformance run --suite full

# The long tests, in two processes, a file's together: the course's results on the course's own files, many random recipes, every
# mutant.
slow: install
	$(TESTING) $(BIN)/python -m pytest -m slow -n 2 --dist loadfile

# The tester tested: every known fault is injected into every implementation, and must be caught.
mutants: install
	$(BIN)/conformance mutants --implementation numpy,torch,tf,jax

# What the known faults would move in every recipe of the suites, which runs look up: made anew where the reference, the
# checks, the faults or the recipes have changed.
ceilings: install
	$(BIN)/python -m conformance.audit.ceilings

# The search for false alarms: 200 random recipes with 5 seeds each, in all four implementations. Where it was broken off
# it goes on; it begins anew when reports/soak is removed.
soak: install
	$(BIN)/conformance soak

# The same with networks of layers: 100 random ones with 3 seeds each; in reports/soak-networks.
soak-networks: install
	$(BIN)/conformance soak --networks --recipes 100 --seeds 3

# Every reader of files, ten minutes each on damaged ones; more than an hour.
fuzz: install
	FUZZ_SECONDS=600 $(TESTING) $(BIN)/python -m pytest -n 2 -rP tests/conformance/test_fuzzing.py

# The figures of docs/gallery.md, of the latest run: of the default suite, over all four implementations. And its report,
# as a picture.
gallery: install
	$(BIN)/python -m conformance.reports.gallery reports/latest docs/figures
	$(BIN)/python docs/picture.py reports/latest/report.html docs/report.png

# `fit` beside code by hand, and the layers beside each framework's own: about ten minutes of a quiet machine, which make the
# table and the page docs/benchmarks.md. `make benchmarks QUICK=1` shows in a minute that all of it works, and leaves both.
benchmarks: install
ifdef QUICK
	$(BIN)/python -m benchmarks run --quick
else
	$(BIN)/python -m benchmarks run
	$(BIN)/python -m benchmarks publish
endif

# Whether some ratio has become worse than the table's by more than the spread: exit status 1.
benchmarks-check: install
	$(BIN)/python -m benchmarks check

# Explicit loops against vectorised code.
vectorization: install
	$(BIN)/python benchmarks/vectorization.py

# The wheel that others install.
wheel: install
	rm -rf dist
	$(BIN)/python -m pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir dist .

# Other versions of the frameworks: an environment in .matrix for each of those that conformance/audit/matrix.toml names, and the
# quick suite in it. `make matrix NAMES=torch-newest` makes one that is several GB large.
matrix: wheel
	$(BIN)/python -m conformance.audit.matrix dist/*.whl $(NAMES)

# The documentation as a site, build/docs/index.html. A warning, such as a link that leads nowhere, is an error.
docs: install
	rm -rf build/docs
	$(BIN)/sphinx-build --quiet --fail-on-warning --keep-going --doctree-dir build/doctrees docs build/docs
	$(TESTING) $(BIN)/python -m pytest --quiet -m slow -k 'elsewhere or contents' tests/test_site.py

# Pages that are made from the source.
pages: install
	$(BIN)/python -m conformance.recipes.catalogue_page > docs/catalogue.md
	$(BIN)/python -m conformance.identification.page > docs/identified.md
	$(BIN)/python -m conformance.translation.page > docs/translated.md
	$(BIN)/python -m conformance.recipes.schema_page > docs/reference/recipe_schema.md
	$(BIN)/python -m typer conformance.cli.app utils docs --name conformance --title "Command line" \
		> docs/reference/command_line.md

# The atlas of the pinned versions: five minutes or more.
atlas: install
	$(BIN)/conformance atlas --output build/atlas --force
	cp build/atlas/atlas.md docs/atlas.md

check: install
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: install
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis .matrix build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
