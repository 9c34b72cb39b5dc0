# The commands of the README. All set up everything first: a virtual environment with the pinned packages, and
# the system's compilers and emulators.
#
#   make build BOARD=nano33     python convert/build.py --board nano33 (ARGS="..." adds options)
#   make upload BOARD=nano33    python convert/upload.py --board nano33 (ARGS="--port ..." adds options)
#   make test                   pytest (ARGS="..." adds options)
#
# and make test-all, which also runs every model on every board.

PYTHON ?= python3
BOARD ?= nano33
VENV := .venv
BIN := $(VENV)/bin
# Workers, a core each: four at most, since each holds TensorFlow. A file's tests share what its fixtures made.
PYTEST := $(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile
C_SOURCES = $(shell git ls-files 'firmware/*.c' 'firmware/*.h' 'firmware/*.cpp' 'convert/*.c' 'tests/*.c' 'tests/*.h')

.PHONY: build upload test test-all setup tools check format clean

build: setup
	$(BIN)/python convert/build.py --board $(BOARD) $(ARGS)

upload: setup
	$(BIN)/python convert/upload.py --board $(BOARD) $(ARGS)

test: setup
	$(PYTEST) $(ARGS)

test-all: setup
	$(PYTEST) -m "" $(ARGS)

setup: tools $(VENV)/.installed

tools:
	@.ci/system-tools

$(VENV)/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(None if (3, 10) <= v <= (3, 13) else f"Python {v[0]}.{v[1]} is not supported; allowed are 3.10 to 3.13: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $@

# What CI checks besides the tests.
check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	clang-format --dry-run -Werror $(C_SOURCES)

format: setup
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .
	clang-format -i $(C_SOURCES)

clean:
	rm -rf build .pio
