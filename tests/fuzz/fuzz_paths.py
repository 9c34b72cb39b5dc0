"""Where the corpus and what was found once lie; importing it makes the builders of tiny models importable."""

import sys
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
CORPUS = FOLDER / "corpus"
REGRESSIONS = FOLDER / "regressions"  # a file a defect that was found and mended, named after it

_CONVERT = FOLDER.parent / "convert"
sys.path[:0] = [str(path) for path in (_CONVERT, _CONVERT / "compiled") if str(path) not in sys.path]


def files(folder: Path) -> list[Path]:
    """The models in a folder, sorted."""
    return sorted(folder.glob("*.tflite"))
