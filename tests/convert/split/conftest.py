"""Makes the builders of tiny models and the fuzzer's corpus importable."""

import sys
from pathlib import Path

_TESTS = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(_TESTS / folder) for folder in ("convert", "convert/compiled", "fuzz")]
