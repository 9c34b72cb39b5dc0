"""Every environment that this repository builds: the whole command, from a model to compared bytes."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from tflite_builder import Sweep

from benchmarks import boards as benchmark
from convert import boards, build
from training.recipe import names as recipes

pytestmark = pytest.mark.usefixtures("build_folder")

ENVIRONMENTS = {
    e.name: board
    for board in map(boards.load, boards.names())
    for e in board.environments
    if e.platform == "bare" and e.emulator
}


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Convolutions, a sum, pooling, a dense layer and a softmax within the RAM of the smallest board."""
    s = Sweep(3)
    x = s.conv(s.input((1, 6, 6, 3)), 8, (3, 3), (2, 2), activation="relu", zero_point=-128)
    y = s.conv(s.depthwise(x, activation="relu", zero_point=-128), 8, (1, 1))
    x = s.add(x, y, 0.1)
    s.unary("SOFTMAX", s.dense(s.reshape(s.pool(x, "AVERAGE", (3, 3), (3, 3)), (1, 8)), 4), 1 / 256, -128, beta=1.0)
    path = tmp_path_factory.mktemp("model") / "small.tflite"
    path.write_bytes(s.build().data)
    return path


def command(environment: str, output: Path, *source: str) -> tuple[int, str]:
    arguments = ["--board", ENVIRONMENTS[environment].id, "--environment", environment, "--output", str(output)]
    result = CliRunner().invoke(build.main, [*arguments, *source], catch_exceptions=False)
    if result.exit_code == 5 and (" install " in result.output):
        pytest.skip(result.output.strip().splitlines()[-1])
    return result.exit_code, result.output


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_a_small_model(environment: str, small: Path, tmp_path: Path) -> None:
    code, printed = command(environment, tmp_path, "--model", str(small), "--vectors", "3")
    assert code == 0, printed
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["environment"] == environment
    assert report["smoke"]["passed"] and report["smoke"]["vectors"] == 4
    assert 0 < report["memory"]["flash"] < report["memory"]["flash_budget"]
    assert report["memory"]["stack"] is None or 0 < report["memory"]["stack"] < report["memory"]["stack_reserve"]


@pytest.mark.exhaustive
@pytest.mark.parametrize("recipe", recipes())
@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_every_recipe(environment: str, recipe: str, tmp_path: Path) -> None:
    """Equal bytes, or a plain answer that it does not fit, or that a binary network has no kernel yet."""
    code, printed = command(environment, tmp_path, "--recipe", recipe, "--timeout", "900")
    assert code in (0, 3) or (code, recipe) == (2, "binary"), printed
    assert code or json.loads((tmp_path / "report.json").read_text())["smoke"]["passed"]


@pytest.mark.exhaustive
@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_networks_of_every_kind(environment: str, tmp_path: Path) -> None:
    """The benchmark's family: residual sums, inverted residuals, time, recurrence, transposed convolutions."""
    from benchmarks import models

    for name in models.FAMILY:
        file = tmp_path / f"{name}.tflite"
        file.write_bytes(models.tflite(name))
        code, printed = command(
            environment, tmp_path / name, "--model", str(file), "--vectors", "2", "--timeout", "900"
        )
        assert code in (0, 2, 3), printed  # 2: an operator that the board's kernels do not have


def test_the_benchmark_knows_every_environment() -> None:
    assert {t.environment.name for t in benchmark.tasks((), ("digits",), ())} == set(ENVIRONMENTS)
