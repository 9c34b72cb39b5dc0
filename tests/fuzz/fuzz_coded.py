"""Fuzzing of coded weights, for as long as one likes.

    python tests/fuzz/fuzz_coded.py --seconds 600

Random weights in every format beside the plain kernels, whole and with damaged streams, with the sanitizers. Prints
what differs, what writes where it must not and what does not end; test_coded_streams.py says what damaged streams may
do.
"""

import argparse
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
sys.path[:0] = [str(FOLDER), str(FOLDER.parent.parent)]

import numpy as np  # noqa: E402
from coded_streams import build, damaged, run, run_damaged  # noqa: E402
from coded_weights import KINDS, calls, fixed_places  # noqa: E402


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    counts: Counter[str] = Counter()
    end = time.monotonic() + args.seconds
    with tempfile.TemporaryDirectory() as folder:
        program = build(Path(folder))
        number = args.seed * 1_000_000
        while time.monotonic() < end:
            number += 1
            rng = np.random.default_rng(number)
            given = [call for k in range(len(KINDS)) for call in calls(rng, k)]
            for call, (plain, coded) in zip(given, run(program, given), strict=True):
                same = np.array_equal(plain, coded)
                counts["equal" if same else "DIFFERENT"] += 1
                if not same:
                    print(f"seed {number}: {call.format} {call.packed.layout} differs", flush=True)
            hurt = [damaged(call, rng) for call in given]
            for call, finding in zip(hurt, run_damaged(program, hurt), strict=True):
                loose = not fixed_places(call) or call.packed.layout.codebook
                allowed = finding is None or (finding.kind == "READ" and loose)
                counts["damaged: " + ("ends" if finding is None else "reads outside" if allowed else "WRONG")] += 1
                if finding is not None and not allowed:
                    print(f"seed {number}: {call.format} {call.packed.layout}: {finding.words[:1000]}", flush=True)
    print(dict(counts))
    return int(counts["DIFFERENT"] + counts["damaged: WRONG"] > 0)


if __name__ == "__main__":
    sys.exit(main())
