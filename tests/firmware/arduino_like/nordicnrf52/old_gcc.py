"""GCC as the official platform has it, version 7: newer options are errors, and arm_acle.h has no DSP instructions."""

import subprocess
import sys
from pathlib import Path

NEWER = (
    "-ffile-prefix-map=",
    "-fmacro-prefix-map=",
    "-std=c++20",
    "-std=gnu++20",
    "-std=c2x",
    "-std=gnu2x",
    "-fanalyzer",
)

for option in sys.argv[2:]:
    if option.startswith(NEWER):
        sys.exit(f"error: unrecognized command line option {option!r}")
headers = str(Path(__file__).parent / "old_headers")
version = ["-U__GNUC__", "-D__GNUC__=7", "-isystem", headers] if "-c" in sys.argv else []
sys.exit(subprocess.call([sys.argv[1], *version, *sys.argv[2:]]))
