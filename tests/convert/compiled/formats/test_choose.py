"""Which format each layer gets: the least flash that the bound allows, by exact counts."""

from itertools import product

import numpy as np
import pytest
from patterns import Patterned
from tflite_builder import needs_device

from convert import compilers, compression_report, graph, pictures, vectors
from convert.cache import Cache
from convert.compiled import compile_model, device, host, placement
from convert.compiled.formats import catalogue, choose, counting
from convert.compiled.formats.catalogue import stored
from convert.compiled.formats.counting import Counted
from convert.compiled.model import Target
from convert.compress import NONE, Compress
from convert.errors import ToolError, UsageError

needs_solver = pytest.mark.skipif(not placement.solver_present(), reason="OR-tools has no wheel for this Python")


def network(*patterns: str, seed: int = 3) -> graph.Graph:
    """A dense layer of each pattern on one input."""
    s = Patterned(seed)
    x = s.input((1, 200))
    for s.pattern in patterns:
        s.dense(x, 12, per_channel=False)
    return s.build()


def synthetic(seed: int):
    """Counts out of the air, with functions that formats share."""

    def count(_compiled, alternatives):
        rng = np.random.default_rng(seed)
        sizes = {f"f{k}": int(rng.integers(1, 3000)) for k in range(4)}
        return [
            [
                Counted(int(rng.integers(100, 1000)), {name: sizes[name] for name in rng.choice([*sizes], 2)})
                for _ in range(1 + len(given))
            ]
            for given in alternatives
        ]

    return count


@needs_solver
@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("bound", [0.7, 1.0, 1.5])
def test_auto_is_as_good_as_trying_everything(monkeypatch: pytest.MonkeyPatch, seed: int, bound: float) -> None:
    g = network("sparse", "int4", "whole")
    monkeypatch.setattr(counting, "count", synthetic(seed))
    dense = compile_model(g)
    given = [[layer] for layer in dense.lowered]
    portable = list(dense.lowered)
    found = [catalogue.options(layer, wide=False) for layer in portable]
    ways = [[layer, *(o.layer for o in more)] for (layer,), more in zip(given, found, strict=True)]
    counts = synthetic(seed)(dense, found)
    limit = int(sum(c[0].instructions for c in counts) * bound)

    def flash(picks: tuple[int, ...]) -> int:
        code: dict[str, int] = {}
        for k, pick in enumerate(picks):
            code |= counts[k][pick].code
        return sum(code.values()) + sum(stored(ways[k][pick]) for k, pick in enumerate(picks))

    allowed = [
        picks
        for picks in product(*(range(len(w)) for w in ways))
        if sum(counts[k][pick].instructions for k, pick in enumerate(picks)) <= limit
    ]
    if not allowed:
        with pytest.raises(UsageError, match=r"--max-instructions 0\.7 allows .* allow at least \d"):
            choose.choose(dense, portable, Compress("auto", bound))
        return
    choice = choose.choose(dense, portable, Compress("auto", bound))
    picks = tuple(
        [other.kernel for other in w].index(layer.kernel) for w, layer in zip(ways, choice.layers, strict=True)
    )
    assert picks in allowed
    assert flash(picks) == min(map(flash, allowed))


@needs_solver
@needs_device
def test_the_counts_are_those_of_the_model_that_is_built() -> None:
    g = network("sparse_few", "blocks", "few")
    model = compile_model(g, "cortex_m4", "speed", Compress("auto", 3.0))
    assert {layer.chosen for layer in model.formats} - {"dense"}
    profile = device.profile(model, vectors.computed(g, 0).inputs[0])
    counted = {layer.op: layer.taken.instructions for layer in model.formats}
    for layer, count in zip(model.lowered, profile.layers, strict=True):
        assert count is not None
        assert count.instructions == counted[layer.op.index]
    named = {layer.kernel for layer in model.lowered if layer.definition}
    shared = ("kernels_coded_row", "pixels")
    code = [n for name, n in profile.functions.items() if name in shared or name.removesuffix("_channel") in named]
    assert len(code) == 2 * len(named) + len(shared)
    assert model.decoder_bytes == sum(code)


@needs_solver
@needs_device
def test_auto_saves_flash_and_keeps_to_its_bound() -> None:
    g = network("sparse_few", "sparse", "whole")
    dense = compile_model(g, "cortex_m4")
    model = compile_model(g, "cortex_m4", "speed", Compress("auto", 1.0))
    section = compression_report.of(model, Compress("auto", 1.0))
    assert section is not None
    assert section.slowdown is not None
    assert section.slowdown <= 1.0
    assert model.weight_bytes + (model.decoder_bytes or 0) < dense.weight_bytes == section.weights_dense
    assert "times the instructions in these layers" in compression_report.sentence(section)
    drawn = compression_report.picture(section, "title")
    assert drawn is not None
    assert drawn.startswith(b"\x89PNG")
    assert drawn == compression_report.picture(section, "title")
    x = vectors.computed(g, 3).inputs
    assert np.array_equal(device.run(model, x)[0], device.run(dense, x)[0])


@needs_device
@needs_solver
def test_an_avr_has_a_stand_in() -> None:
    model = compile_model(network("sparse_few", "few"), "avr", "speed", Compress("auto", 3.0))
    assert {layer.chosen for layer in model.formats} - {"dense"}
    assert all(layer.taken.instructions for layer in model.formats)


def test_a_format_leaves_alone_what_it_would_make_larger() -> None:
    model = compile_model(network("sparse", "whole"), "portable", "speed", Compress("gaps"))
    assert [layer.chosen for layer in model.formats] == ["gaps"]
    kernels = [layer.kernel or "" for layer in model.lowered]
    assert kernels[0].startswith("coded_row_gaps")
    assert kernels[1] == "kernels_matmul_s8"
    assert model.dense is not None
    assert model.weight_bytes < model.dense.weight_bytes


def test_without_compression_nothing_changes() -> None:
    g = network("sparse")
    assert compile_model(g, "portable", "speed", NONE).render() == compile_model(g).render()
    assert compression_report.of(compile_model(g), NONE) is None


def test_the_same_model_gives_the_same_source() -> None:
    g = network("sparse_few", "int4")
    sources = [compile_model(g, "portable", "speed", Compress("rans_gaps")).render() for _ in range(2)]
    assert sources[0] == sources[1]


def test_unknown_format() -> None:
    with pytest.raises(UsageError, match=r"--compress zip: the compiled runtime has auto, .*none.* or wide_gaps"):
        compile_model(network("sparse"), "portable", "speed", Compress("zip"))


@needs_solver
def test_auto_without_a_cross_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compilers, "missing", lambda _: "arm-none-eabi-gcc is not on the PATH")
    monkeypatch.setenv("TINYML_CACHE", "/nonexistent")
    monkeypatch.setattr(Cache, "get", lambda *given: (given[-1](None), False))
    with pytest.raises(ToolError, match="arm-none-eabi-gcc is not on the PATH"):
        compile_model(network("sparse"), "cortex_m4", "speed", Compress("auto"))


def test_auto_without_the_solver(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(placement, "solver_present", lambda: False)
    with pytest.raises(ToolError, match="--compress auto needs OR-tools"):
        compile_model(network("sparse"), "portable", "speed", Compress("auto"))


def test_a_format_without_a_cross_compiler_is_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "available", lambda: False)
    model = compile_model(network("sparse"), "portable", "speed", Compress("gaps"))
    (layer,) = model.formats
    assert layer.taken.instructions is None
    assert model.decoder_bytes is None
    section = compression_report.of(model, Compress("gaps"))
    assert section is not None
    assert section.slowdown is None
    assert compression_report.picture(section, "title") is None
    assert "–" in str([list(column.cells) for column in compression_report.table(section).columns])


def test_many_alternatives_need_several_images(monkeypatch: pytest.MonkeyPatch) -> None:
    g = network("sparse", "few")
    dense = compile_model(g)
    found = [[o.layer for o in catalogue.options(layer, wide=False)] for layer in dense.lowered]
    whole = counting._batches(found)
    assert len(whole) == 1
    monkeypatch.setattr(counting, "_IMAGE", 4000)
    batches = counting._batches(found)
    assert len(batches) > 2
    assert [[layer for batch in batches for layer in batch[k]] for k in range(2)] == found


def test_a_plot_of_one_layer_and_of_four() -> None:
    points = [("dense", 1000, 500, False), ("gaps", 300, 700, True)]
    for count in (1, 4):
        assert pictures.trade_offs([("layer", points)] * count, "title").startswith(b"\x89PNG")


def test_formats_run_on_this_machine() -> None:
    g = network("two_of_four", "each_channel")
    x = vectors.computed(g, 3).inputs
    expected, _ = host.run(compile_model(g), x)
    for mode in ("two_of_four", "rans_two_of_four", "codebook"):
        outputs, _ = host.run(compile_model(g, "portable", "speed", Compress(mode)), x, sanitize=True)
        assert np.array_equal(outputs, expected)


@pytest.mark.parametrize("target", ["portable", "cortex_m4"])
def test_other_weights_take_the_kernels_that_are_pinned(target: Target) -> None:
    # Of other patterns the number of values, and so of bits, may be another one.
    patterns = ("int4", "two_of_four", "blocks", "whole")
    first, second = network(*patterns), network(*patterns, seed=4)
    for mode in catalogue.FORMATS:
        model = compile_model(first, target, "speed", Compress(mode))
        pinned = {layer.op.index: layer.kernel for layer in model.lowered}
        again = compile_model(first, target, pinned=pinned)
        assert [layer.kernel for layer in again.lowered] == [layer.kernel for layer in model.lowered]
        other = compile_model(second, target, pinned=pinned)
        assert [layer.kernel for layer in other.lowered] == [layer.kernel for layer in model.lowered], mode
        x = vectors.computed(second, 3).inputs
        expected, _ = host.run(compile_model(second), x)
        if target == "portable":
            assert np.array_equal(host.run(other, x)[0], expected)


def test_a_pinned_kernel_that_does_not_hold_the_weights() -> None:
    model = compile_model(network("int2"), "portable", "speed", Compress("int2"))
    pinned = {layer.op.index: layer.kernel for layer in model.lowered}
    other = compile_model(network("whole"), "portable", pinned=pinned)
    assert [layer.kernel for layer in other.lowered] == ["kernels_matmul_s8"]
