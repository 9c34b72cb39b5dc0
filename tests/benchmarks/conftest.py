import sys
from pathlib import Path

# The benchmark's own package, and the builders of tiny graphs, shared with the tests of the compiled runtime.
_ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(_ROOT / folder) for folder in ("", "tests/convert", "tests/convert/compiled")]
