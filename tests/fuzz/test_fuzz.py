"""A short, repeatable run of the fuzzer; fuzz.py is for long ones."""

import subprocess
import sys
from pathlib import Path

import pytest
from execute import execute
from fuzz_paths import CORPUS, FOLDER, REGRESSIONS, files
from seeds import SEEDS, data_of
from target import check, time_limit
from tflite_builder import needs_compiler


def by_name(path: Path) -> str:
    return path.stem


def test_corpus_is_what_the_seeds_make() -> None:
    assert {path.stem: path.read_bytes() for path in files(CORPUS)} == {
        seed.__name__: data_of(seed) for seed in SEEDS
    }, "run python tests/fuzz/seeds.py"


@pytest.mark.parametrize("path", files(CORPUS), ids=by_name)
def test_corpus_is_accepted(path: Path) -> None:
    assert check(path.read_bytes()).stage == "accepted"


@needs_compiler
@pytest.mark.parametrize("path", files(REGRESSIONS), ids=by_name)
def test_what_was_found_once(path: Path) -> None:
    with time_limit(60):
        outcome = check(path.read_bytes())
    # Refused by a message, or right.
    if outcome.compiled is not None:
        assert execute(path.read_bytes()) in ("equal", "refused")


@needs_compiler
def test_damaged_models(tmp_path: Path) -> None:
    command = [sys.executable, str(FOLDER / "fuzz.py"), "--count", "2500", "--seconds", "400", "--execute", "0.03"]
    done = subprocess.run([*command, "--output", str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    # The fuzzer fuzzes: files got as far as each stage.
    assert "'graph'" in done.stdout
    assert "'compile'" in done.stdout
    assert "'executed: equal'" in done.stdout
