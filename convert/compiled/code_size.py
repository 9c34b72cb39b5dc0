"""How much flash a model's code takes on a core, before anything is compiled: an estimate from measured kernels.

code_sizes.json holds, for each core and level of optimisation, the bytes of every section that a kernel needs, what
it takes from the compiler's libraries included; `python benchmarks/kernel_sizes.py` measures them anew. What two
kernels share counts once. Start-up code, application and C library are the board's overhead and not counted here.
"""

import json
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import Any

FILE = Path(__file__).with_name("code_sizes.json")

# Bytes of a kernel call in the generated C, with its parameters: 61 to 92 in twelve images of three models for a
# Cortex-M4 (vww, kws and ad01, both targets and levels, 2026-11-23).
_BYTES_A_CALL = 80


def core(cpu: str, architecture: str) -> str:
    """What sizes are kept by: Arm's cores one by one, others by their architecture."""
    return cpu if cpu.startswith("cortex-") else architecture


@lru_cache(maxsize=1)
def _known() -> Any:
    return json.loads(FILE.read_text())["cores"]


def estimate(cpu: str, architecture: str, optimize: str, kernels: Iterable[str | None]) -> int | None:
    """Bytes of the code for these kernel calls, None where one was not measured; a None among the calls has no code."""
    calls = [kernel for kernel in kernels if kernel is not None]
    try:
        known = _known()[core(cpu, architecture)][optimize]
        needed: set[int] = {number for kernel in set(calls) for number in known["kernels"][kernel]}
    except KeyError:
        return None
    sizes: list[int] = list(known["sections"].values())
    return sum(sizes[number] for number in needed) + _BYTES_A_CALL * len(calls)
