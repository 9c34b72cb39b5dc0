"""Fuzzing of the .tflite reader and the compiler, for as long as one likes.

    python tests/fuzz/fuzz.py --seconds 1200                 damaged copies of the corpus, in a process of its own
    python tests/fuzz/fuzz.py --seconds 1200 --execute 0.01  and runs that share of the accepted ones, with sanitizers,
                                                             beside TFLite Micro
    python tests/fuzz/fuzz.py --atheris --seconds 1200       guided by coverage (pip install '.[fuzz]')
    python tests/fuzz/fuzz.py FILE...                        those files only

Whatever is damaged, `graph.load`, `compile_model` and `render` end with a result or with UsageError, within
target.SECONDS and target.MEMORY; and C that was rendered does nothing undefined and answers like TFLite Micro. Files
that break this are kept in --output under a name made of the exception and its place; mended, one goes to
tests/fuzz/regressions under the name of its defect. test_fuzz.py runs the same for a few seconds.
"""

import argparse
import hashlib
import math
import os
import random
import sys
import time
import traceback
from collections import Counter
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
sys.path[:0] = [str(FOLDER), str(FOLDER.parent.parent)]

from fuzz_paths import CORPUS, REGRESSIONS, files  # noqa: E402, I001  (first: it finds the builders)
from execute import execute  # noqa: E402
from mutate import mutate  # noqa: E402
from target import Hang, Outcome, check, limit_memory, time_limit  # noqa: E402


def place_of(error: BaseException) -> str:
    """Exception, file and line where this project's code met it, as a file name."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if "/convert/" in f.filename]
    frames = [f for f in frames if "/tests/" not in f.filename] or frames
    at = f"{Path(frames[-1].filename).stem}-{frames[-1].name}-{frames[-1].lineno}" if frames else "nowhere"
    return f"{type(error).__name__}-{at}"


def work(args: argparse.Namespace, rng: random.Random) -> Counter[str]:
    """Fuzz until the time is over or there were enough files; return how often each outcome occurred."""
    seeds = [path.read_bytes() for path in (*files(CORPUS), *files(REGRESSIONS))]
    pool = list(seeds)
    seen: set[str] = set()
    counts: Counter[str] = Counter()
    end, last = time.monotonic() + args.seconds, time.monotonic()
    while time.monotonic() < end and sum(counts.values()) < args.count:
        data = mutate(rng.choice(pool if rng.random() < 0.5 else seeds), rng, seeds, 1 << 18)
        (args.output / "current.tflite").write_bytes(data)  # what a killed process was at
        outcome = one(data, counts, args)
        if outcome is not None:
            # What is refused in a new way, or accepted, is worth damaging further.
            kind = "".join(c for c in outcome.message if not c.isdigit())[:60]
            if kind not in seen and len(seen) < 5000:
                seen.add(kind)
                pool.append(data)
            if outcome.compiled is not None:
                if len(pool) < 4000 and rng.random() < 0.1:
                    pool.append(data)
                if rng.random() < args.execute:
                    one(data, counts, args, run=True)
        if time.monotonic() - last > 60:
            last = time.monotonic()
            print(f"{dict(counts)}, {len(pool)} files in the pool", flush=True)
    return counts


def one(data: bytes, counts: Counter[str], args: argparse.Namespace, run: bool = False) -> Outcome | None:
    """Check a file, count the outcome and keep the file if it breaks a rule."""
    try:
        if run:
            counts[f"executed: {execute(data)}"] += 1
            return None
        with time_limit():
            outcome = check(data)
        counts[outcome.stage] += 1
        return outcome
    except (Exception, Hang) as e:
        name = place_of(e)
        counts[f"FOUND {name}"] += 1
        kept = args.output / f"{name}-{hashlib.sha256(data).hexdigest()[:8]}.tflite"
        if counts[f"FOUND {name}"] <= 3:
            kept.write_bytes(data)
            print(f"found {name} ({str(e)[:300]}): {kept}", flush=True)
        return None


def guided(args: argparse.Namespace) -> None:
    """Coverage-guided, by libFuzzer; ends with a report of its own."""
    import atheris

    with atheris.instrument_imports(include=["convert.graph", "convert.compiled"]):
        # Imported already by this module; what is to be watched is imported anew.
        for name in [n for n in sys.modules if n == "target" or n.startswith("convert")]:
            del sys.modules[name]
        import target as watched
    seeds = [path.read_bytes() for path in (*files(CORPUS), *files(REGRESSIONS))]

    def damage(data: bytes, most: int, seed: int) -> bytes:
        rng = random.Random(seed)
        return mutate(data if len(data) > 64 else rng.choice(seeds), rng, seeds, most)

    options = ["-rss_limit_mb=4096", f"-timeout={int(watched.SECONDS)}", f"-max_total_time={int(args.seconds)}"]
    options += ["-max_len=65536", f"-seed={args.seed}", f"-artifact_prefix={args.output}/"]
    grown = args.output / "corpus"
    grown.mkdir(exist_ok=True)
    atheris.Setup(
        [sys.argv[0], *options, str(grown), str(CORPUS), str(REGRESSIONS)],
        lambda data: watched.check(data) and None,
        custom_mutator=damage,
    )
    atheris.Fuzz()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", type=Path, nargs="*")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--count", type=float, default=math.inf, help="files after which to end")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--execute", type=float, default=0.0, help="share of the accepted files to build and run")
    parser.add_argument("--output", type=Path, default=FOLDER.parent.parent / "build" / "fuzz")
    parser.add_argument("--atheris", action="store_true")
    args = parser.parse_args()
    args.output.mkdir(parents=True, exist_ok=True)
    if args.atheris:
        guided(args)
        return 0
    for path in args.files:
        outcome = check(path.read_bytes())
        ran = execute(path.read_bytes()) if args.execute and outcome.compiled else ""
        print(f"{path.name}: {outcome.stage} {outcome.message} {ran}".rstrip())
    if args.files:
        return 0
    start = time.monotonic()
    pid = os.fork()
    if pid == 0:
        limit_memory()
        counts = work(args, random.Random(args.seed))
        print(f"{sum(counts.values())} files in {time.monotonic() - start:.0f} s: {dict(counts)}", flush=True)
        os._exit(int(any(name.startswith("FOUND") for name in counts)))
    _, status = os.waitpid(pid, 0)
    code = os.waitstatus_to_exitcode(status)
    if code < 0:
        print(f"killed by signal {-code} at {args.output / 'current.tflite'}")
    return 0 if code == 0 else 1


if __name__ == "__main__":
    sys.exit(main())
