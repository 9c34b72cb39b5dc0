import dataclasses

import numpy as np
import pytest
from tree_samples import inputs, tree

from convert.errors import UsageError
from convert.trees import container, reference, view
from convert.trees.bonsai import Bonsai


def equal(a: Bonsai, b: Bonsai) -> bool:
    pairs = zip(dataclasses.astuple(a), dataclasses.astuple(b), strict=True)
    return all(np.array_equal(x, y) and getattr(x, "dtype", 0) == getattr(y, "dtype", 0) for x, y in pairs)


@pytest.mark.parametrize("depth", [0, 1, 3])
@pytest.mark.parametrize("classes", [2, 5])
@pytest.mark.parametrize("density", [0.0, 0.4, 1.0])
def test_a_tree_comes_back_from_its_file(depth: int, classes: int, density: float) -> None:
    of = tree(depth=depth, classes=classes, density=density, features=33)
    assert equal(container.unpack(container.pack(of)), of)


def test_the_file_is_the_constants_and_a_header() -> None:
    of = tree()
    starts, table = of.coded_nodes.starts.nbytes, 33
    assert len(container.pack(of)) == 21 + of.constant_bytes - starts - table


def test_every_shorter_file_is_refused() -> None:
    data = container.pack(tree())
    for length in range(len(data)):
        with pytest.raises(UsageError, match=r"not a tree|damaged tree"):
            container.unpack(data[:length])


def test_a_byte_too_many_is_refused() -> None:
    with pytest.raises(UsageError, match=r"damaged tree \(1 bytes too many\); make it again"):
        container.unpack(container.pack(tree()) + b"\0")


def test_a_damaged_file_is_refused_or_is_a_tree_that_runs() -> None:
    data = container.pack(tree())
    rng = np.random.default_rng(5)
    for _ in range(400):
        damaged = bytearray(data)
        damaged[rng.integers(4, len(data))] ^= 1 << rng.integers(8)
        try:
            of = container.unpack(bytes(damaged))
        except UsageError:
            continue
        reference.run(of, inputs(of, 3))


def test_something_else_is_no_tree() -> None:
    with pytest.raises(UsageError, match="not a tree: the file does not begin with BNS1"):
        container.unpack(b"\x1c\0\0\0TFL3" + bytes(40))


def test_too_many_classes_for_the_format() -> None:
    with pytest.raises(UsageError, match="the tree has 300 classes; at most 255 are possible"):
        container.pack(tree(classes=300))


def test_the_graph_says_what_the_pipeline_asks() -> None:
    of = tree()
    g = view.load(container.pack(of))
    assert (g.tensors[g.inputs[0]].shape, g.tensors[g.inputs[0]].dtype) == ((1, 30), np.int8)
    assert g.tensors[g.inputs[0]].quantization.scale == 2.0**-4
    assert (g.tensors[g.outputs[0]].shape, g.tensors[g.outputs[0]].dtype) == ((1, 3), np.int32)
    assert g.macs == of.macs == sum(g.macs_of(op) for op in g.operators)
    assert g.parameters == of.parameters
    assert not g.has_state
    assert sum(t.nbytes for t in g.tensors if t.data is not None) == of.constant_bytes - 33
