import sys
from pathlib import Path

# The builders of tiny models, shared with the neighbouring tests.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
