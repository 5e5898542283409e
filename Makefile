# make tour   train a detector on the embedded data and leave the results in runs/tour
# make test   run everything that must hold
# Both set themselves up in .venv on the first call. Another interpreter: make PYTHON=python3.12 tour
PYTHON ?= python3
VENV ?= .venv
OUT ?= runs/tour
NB ?=

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet --quiet
STATED := settings.ini setup.py pyproject.toml requirements-lock.txt
# One thread a process: two torch processes with two threads each spin against each other.
ONE_THREAD := OMP_NUM_THREADS=1 MKL_NUM_THREADS=1

.PHONY: help student ru translations figures tour test test-fast test-browser fuzz notebooks stable export readme docs lab bench-gpu clean
.DEFAULT_GOAL := help

help:
	@echo "make tour       train on the embedded data, results in $(OUT)"
	@echo "make test       all notebooks, checks and tests"
	@echo "make test-fast  checks and tests only: no notebook is run, no slow test"
	@echo "make test-browser  chapters, explorers and the demo page in JupyterLab and Chromium (which must be installed)"
	@echo "make fuzz       10,000 odd annotation files (minutes); make test tries 500"
	@echo "make notebooks  execute the notebooks in place (some: make notebooks NB='nbs/01_boxes.ipynb')"
	@echo "make stable     execute notebooks twice, compare the bytes (NB=... as above)"
	@echo "make export     notebooks -> rtsd_nb/"
	@echo "make readme     nbs/index.ipynb -> README.md"
	@echo "make docs       the documentation site, in _docs/html"
	@echo "make figures    all pictures of the chapters as files, for slides, in _docs/figures"
	@echo "make ru         the Russian edition in ru/; make translations brings locale/ru up to date"
	@echo "make student    the student's edition in student/: exercises without solutions"
	@echo "make lab        open the course in JupyterLab"
	@echo "make bench-gpu  training and inference on a GPU, beside other loops (without one: only that it runs)"
	@echo "make clean      remove what was built, except $(VENV) and runs/"

# ---- set-up: stamps keep a second call from installing again ----
$(VENV)/made:
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(v < (3, 11) and "rtsd_nb needs Python 3.11 or newer, and $(PYTHON) is %d.%d. Name another one: make PYTHON=python3.12 $(MAKECMDGOALS)" % v[:2])'
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/tour-ready: $(VENV)/made $(STATED)
	@echo "Installing rtsd_nb into $(VENV): about 5 GB and a few minutes, once."
	$(PIP) -c requirements-lock.txt -e '.[offline]'
	@touch $@

$(VENV)/test-ready: $(VENV)/made $(STATED)
	@echo "Installing rtsd_nb and its development tools into $(VENV): about 6 GB and a few minutes, once."
	$(PIP) -c requirements-lock.txt -e '.[dev,offline]'
	@touch $(VENV)/tour-ready $@

$(VENV)/docs-ready: $(VENV)/test-ready
	$(PIP) -c requirements-lock.txt -e '.[dev,docs,offline]'
	@touch $@

$(VENV)/browser-ready: $(VENV)/test-ready
	$(PIP) -c requirements-lock.txt -e '.[dev,offline,explore,demo,browser]'
	@touch $@

# ---- the two commands ----
tour: $(VENV)/tour-ready
	$(BIN)/rtsd-train --epochs 1 --out $(OUT) --overwrite
	@echo
	@echo "Look at the results in $(OUT):"
	@ls $(OUT)

test: $(VENV)/test-ready
	@$(ONE_THREAD) $(BIN)/python tests/run_all.py

test-fast: $(VENV)/test-ready
	@$(ONE_THREAD) $(BIN)/python tests/run_all.py --fast

test-browser: $(VENV)/browser-ready
	RTSD_BROWSER=1 $(ONE_THREAD) $(BIN)/python -m pytest -q -rs tests/test_lab.py tests/test_demo.py

fuzz: $(VENV)/test-ready
	RTSD_FUZZ=10000 $(ONE_THREAD) $(BIN)/python -m pytest -q tests/test_fuzz_data.py

# ---- working on the course ----
notebooks: $(VENV)/test-ready
	$(BIN)/rtsd-course execute --workers 2 $(NB)

stable: $(VENV)/test-ready
	$(BIN)/rtsd-course stable $(NB)

export: $(VENV)/test-ready
	$(BIN)/nbdev_export
	$(BIN)/nbdev_clean

readme: $(VENV)/test-ready
	$(BIN)/rtsd-course readme

ru: $(VENV)/test-ready
	$(BIN)/rtsd-course edition ru

translations: $(VENV)/test-ready
	$(BIN)/rtsd-course translations

figures: $(VENV)/test-ready
	$(BIN)/python docs/figures.py

student: $(VENV)/test-ready
	$(BIN)/rtsd-course student

docs: $(VENV)/docs-ready
	$(BIN)/python docs/build.py

lab: $(VENV)/test-ready
	$(BIN)/jupyter lab nbs

bench-gpu: $(VENV)/tour-ready
	$(BIN)/python benchmarks/bench_gpu.py

clean:
	rm -rf build dist _proc _docs student ru kernel wheels *.egg-info .pytest_cache .hypothesis nbs/.last_checked nbs/.ipynb_checkpoints
	find rtsd_nb tests nbs -name __pycache__ -type d -prune -exec rm -rf {} +
