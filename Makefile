# make course: environment, then every notebook on the bundled sample, ending with gallery and scores
# make test:   environment, then the tests
# make site:   the executed notebooks, the library's reference and the model cards as web pages
# make lab:    the notebooks in JupyterLab
# make student: the notebooks as exercises, without their solutions, in student/
# make bench:  the benchmarks of docs/benchmarks.md, against PyTorch if TORCH=/path/to/python is given
# make lint:   ruff; it rewrites files
# make clean:  removes the environment and runs/, with all results

VENV := .venv
BIN := $(VENV)/bin
# The newest of the Pythons that TensorFlow supports; or `make PYTHON=…`.
PYTHON ?= $(shell for python in python3.13 python3.12 python3.11 python3; do \
	$$python -c 'import sys, venv; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null \
	&& echo $$python && break; done)
# The GPU build of TensorFlow where an NVIDIA driver answers.
GPU := $(shell nvidia-smi >/dev/null 2>&1 && echo ,gpu)
RUN_DIR ?= runs/course
# Reference data for the benchmarks: DAVIS 2016 in davis-2016/, the paper's masks in reference/.
SHARED ?= ../shared

.PHONY: setup course student site test lab lint bench clean

setup: $(VENV)/installed

$(VENV)/installed: pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "No Python 3.11, 3.12 or 3.13 found. Install one, or: make PYTHON=/path/to/python3.12"; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[test$(GPU)]"
	@touch $@

course: setup
	$(BIN)/osvos course --run-dir $(RUN_DIR)

site: setup
	$(BIN)/python docs/make_site.py --run-dir $(RUN_DIR)

# Two files of tests at a time.
ARGS ?= --numprocesses 2 --dist loadfile --durations 20

test: setup
	$(BIN)/ruff check .
	$(BIN)/python -m pytest $(ARGS)

# Without a GPU TensorFlow reports an error of CUDA in the notebook; that only alarms.
lab: setup
	$(if $(GPU),,TF_CPP_MIN_LOG_LEVEL=3) $(BIN)/jupyter lab notebooks

student: setup
	$(BIN)/osvos student --to student

lint: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# TORCH: a Python with torch, NumPy and OpenCV, for the ratios; without it only this project is measured.
TORCH ?=
YARDSTICK = $(if $(TORCH),--torch-python $(TORCH) --yardstick $(SHARED)/bench/torch_osvos.py)

bench: setup
	$(BIN)/python -m tests.benchmarks.step $(YARDSTICK)
	$(BIN)/python -m tests.benchmarks.pipeline --davis $(SHARED)/davis-2016 $(YARDSTICK)
	$(BIN)/python -m tests.benchmarks.job --davis $(SHARED)/davis-2016
	$(BIN)/python -m tests.benchmarks.masks --davis $(SHARED)/davis-2016
	$(BIN)/python -m tests.benchmarks.evaluation --davis $(SHARED)/davis-2016 --masks $(SHARED)/reference/osvos-masks

clean:
	rm -rf $(VENV) runs .pytest_cache .ruff_cache .hypothesis *.egg-info
