import sys
from pathlib import Path

# The benchmarks' package, and the builders of tiny graphs, which more than one folder of tests uses.
_ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [
    str(_ROOT / folder) for folder in ("", "tests/convert", "tests/convert/compiled", "tests/convert/split")
]
