"""The record of kernels' sizes: whole, near what compilers give today, and near what builds take."""

import shutil
import sys
from pathlib import Path

import pytest

from convert import boards, compilers
from convert.compiled import code_size, cortex_m4, lowering
from convert.paths import ROOT


def cores() -> list[tuple[str, str]]:
    """(cpu, architecture) of every board that the bare platform builds for."""
    loaded = [boards.load(name) for name in boards.names()]
    return sorted(
        {(b.build.cpu, b.tinyml.architecture) for b in loaded if any(e.platform == "bare" for e in b.environments)}
    )


@pytest.mark.parametrize(("cpu", "architecture"), cores())
@pytest.mark.parametrize("optimize", ["speed", "size"])
def test_every_core_has_the_common_kernels(cpu: str, architecture: str, optimize: str) -> None:
    kernels = ["kernels_conv_s8", "kernels_depthwise_s8", "kernels_matmul_s8", "kernels_softmax_s8", None]
    found = code_size.estimate(cpu, architecture, optimize, kernels)
    assert found is not None, "measure it: python benchmarks/kernel_sizes.py"
    assert 3000 < found < 30000


def test_what_kernels_share_counts_once_and_calls_each() -> None:
    one = code_size.estimate("cortex-m4", "armv7e-m", "speed", ["kernels_conv_s8"])
    assert one is not None
    twice = code_size.estimate("cortex-m4", "armv7e-m", "speed", ["kernels_conv_s8", "kernels_conv_s8"])
    assert twice == one + code_size._BYTES_A_CALL
    other = code_size.estimate("cortex-m4", "armv7e-m", "speed", ["kernels_matmul_s8"])
    both = code_size.estimate("cortex-m4", "armv7e-m", "speed", ["kernels_conv_s8", "kernels_matmul_s8"])
    assert other is not None and both is not None and both < one + other, "they share matrix products"


def test_nothing_is_estimated_for_what_was_not_measured() -> None:
    assert code_size.estimate("cortex-m4", "armv7e-m", "speed", ["kernels_unheard_of"]) is None
    assert code_size.estimate("z80", "z80", "speed", ["kernels_conv_s8"]) is None
    assert code_size.estimate("cortex-m4", "armv7e-m", "speed", [None]) == 0


def test_every_alternative_of_the_cortex_m4_was_measured() -> None:
    assert lowering.supported()
    for kernel in cortex_m4.FEATURES:
        assert code_size.estimate("cortex-m4", "armv7e-m", "size", [kernel]) is not None, kernel


@pytest.mark.parametrize(("core", "source"), [("cortex-m4", "pool.c"), ("rv32imc", "mean.c"), ("avr", "softmax.c")])
def test_the_record_is_near_what_the_compiler_gives_today(core: str, source: str, tmp_path: Path) -> None:
    sys.path.insert(0, str(ROOT))
    from benchmarks import kernel_sizes

    board = kernel_sizes.cores()[core]
    if shutil.which(f"{compilers.COMPILERS[board.tinyml.architecture].prefix}gcc") is None:
        pytest.skip(f"no compiler for {core}")
    sources = kernel_sizes.KERNELS / "src"
    library = [sources / source, *sorted((sources / core).glob("*.[cS]"))]  # with what stands in for arithmetic
    now = kernel_sizes.measure(board, compilers.LEVELS["size"], tmp_path, library)
    own = {name: sum(found.values()) for name, found in now.items()}
    assert own
    for kernel, size in own.items():
        known = code_size.estimate(board.build.cpu, board.tinyml.architecture, "size", [kernel])
        assert known is not None, f"{kernel} was never measured: python benchmarks/kernel_sizes.py"
        # Another version of the compiler may differ by some percent.
        assert known - code_size._BYTES_A_CALL == pytest.approx(size, rel=0.25, abs=64), kernel
