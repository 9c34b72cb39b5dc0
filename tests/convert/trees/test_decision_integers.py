"""Decision trees in integers: against the grown tree and plain Python, the C against them, and the file."""

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import avr_object
import numpy as np
import pytest

from convert.errors import UsageError
from convert.trees import container, decision, host, reference, view
from convert.trees.bonsai import quantize_inputs
from convert.trees.decision import DecisionTree
from training.architectures.decision_tree import grow

has_compiler = pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc")


def grown(
    seed: int = 0, *, features: int = 9, classes: int = 4, leaves: int = 30, samples: int = 600
) -> tuple[dict[str, Any], np.ndarray]:
    """A tree that scikit-learn grew on noise, and its samples; features are eighths, as the integers hold them."""
    rng = np.random.default_rng(seed)
    x = rng.integers(-120, 121, (samples, features)) / 8
    labels = rng.integers(0, classes, samples)
    settings = SimpleNamespace(criterion="gini", max_depth=32, max_leaves=leaves, min_samples_leaf=1)
    return grow(settings, x, labels, classes), x


def inputs(of: DecisionTree, count: int) -> np.ndarray:
    rng = np.random.default_rng(1)
    extremes = [np.full(of.features, value) for value in (-128, -1, 0, 1, 127)]
    return np.concatenate([extremes, rng.integers(-128, 128, (count, of.features))]).astype(np.int8)


@pytest.mark.parametrize("seed", range(3))
def test_integers_go_the_way_of_the_grown_tree(seed: int) -> None:
    p, x = grown(seed)
    of = decision.quantize(p, 4, x)
    q = quantize_inputs(x, of.input_exponent)
    np.testing.assert_array_equal(q * 2.0**of.input_exponent, x)
    found = reference.run(of, q)
    for sample, scores in zip(x, found, strict=True):
        node = 0
        while p["left"][node] != node:
            left = sample[p["feature"][node]] <= p["threshold"][node]
            node = p["left"][node] if left else p["right"][node]
        share = p["share"][node]
        expected = np.zeros(4, int)
        expected[share.argmax()] = round(255 * share.max())
        assert scores.tolist() == expected.tolist()
    leaves = int((of.feature == of.features).sum())
    assert (leaves, of.nodes, of.parameters) == (30, 59, 29 + 2 * 30)
    assert len(np.unique(found.argmax(1))) == 4


@has_compiler
@pytest.mark.parametrize(
    "kind",
    [
        {},
        {"leaves": 2, "classes": 2},
        {"features": 300},
        {"leaves": 400, "samples": 2000},
        {"classes": 200, "samples": 3000, "leaves": 250},
    ],
    ids=str,
)
def test_the_c_equals_the_reference(kind: dict[str, Any]) -> None:
    p, x = grown(3, **kind)
    of = decision.quantize(p, kind.get("classes", 4), x)
    tested = inputs(of, 3000)
    np.testing.assert_array_equal(host.run(of, tested, sanitize=True), reference.run(of, tested))
    assert of.constant_bytes == of.nodes * (1 + (of.features > 255) + 1 + 1 + (of.nodes > 256))


@has_compiler
def test_a_tree_of_one_leaf() -> None:
    p, x = grown()
    alone = {name: values[:1] * 0 for name, values in p.items()} | {"share": np.array([[0, 0.25, 0.75, 0]])}
    of = decision.quantize(alone, 4, x)
    assert host.run(of, inputs(of, 3)).tolist() == reference.run(of, inputs(of, 3)).tolist() == [[0, 0, 191, 0]] * 8


def test_thresholds_beyond_what_a_feature_can_be() -> None:
    p, x = grown(leaves=2)
    of = decision.quantize({**p, "threshold": p["threshold"] * 0 + 1e6}, 4, x)
    assert len(np.unique(reference.run(of, inputs(of, 100)), axis=0)) == 1, "all go to the left"


def test_the_file_gives_the_tree_back() -> None:
    p, x = grown()
    of = decision.quantize(p, 4, x)
    data = container.pack(of)
    again = container.unpack(data)
    assert isinstance(again, DecisionTree) and container.pack(again) == data
    g = view.load(data)
    assert (g.op_names, g.macs, g.parameters) == (("DECISION_TREE",), 0, of.parameters)
    assert g.tensors[g.outputs[0]].shape == (1, 4)


def test_damaged_files_are_refused() -> None:
    p, x = grown()
    of = decision.quantize(p, 4, x)
    data = container.pack(of)
    for length in range(4, len(data), 11):
        with pytest.raises(UsageError, match="damaged decision tree"):
            container.unpack(data[:length])
    head, n = decision._HEADER.size, of.nodes
    last = n - 1
    # A feature that is none, a child behind its parent and one beyond the table, a class and a score that are none.
    for place, value in (
        (head, 200),
        (head + 3 * n, 1),
        (head + 3 * n, n),
        (head + 2 * last, 0),
        (head + 2 * n + last, 4),
        (head + 3 * n + 2 * last + 1, 1),
    ):
        broken = bytearray(data)
        broken[place] = value
        with pytest.raises(UsageError, match=r"lead nowhere|out of range"):
            container.unpack(bytes(broken))


def test_what_the_format_cannot_hold_is_said() -> None:
    p, x = grown()
    with pytest.raises(UsageError, match="the tree has 256 classes; at most 255 are possible"):
        decision.quantize(p, 256, x)


@avr_object.has_avr
def test_on_an_avr_constants_stay_in_flash_and_nothing_is_called(tmp_path: Path) -> None:
    p, x = grown()
    of = decision.quantize(p, 4, x)
    target = avr_object.built(of, tmp_path / "source")
    found = avr_object.sections(target)
    assert found[".progmem.data"] == of.constant_bytes
    assert found[".data"] == found[".bss"] == found.get(".rodata", 0) == 0
    assert avr_object.calls(target) <= {"__do_copy_data", "__do_clear_bss"}, "nothing is multiplied"
