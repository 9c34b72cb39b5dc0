import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

# The benchmarks' package, and the builders of tiny graphs, which more than one folder of tests uses.
_ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [
    str(_ROOT / folder) for folder in ("", "tests/convert", "tests/convert/compiled", "tests/convert/split")
]


@pytest.fixture(scope="session", autouse=True)
def _width() -> None:
    """Commands print as wide as they do where no width is given; pytest's workers are given one."""
    os.environ.pop("COLUMNS", None)


@pytest.fixture(scope="module")
def build_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The user's own build folder, and what a plain `pio run` takes, stay as they are."""
    from convert import build

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(build, "BUILD", tmp_path_factory.mktemp("build"))
        yield
