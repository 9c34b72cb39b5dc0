"""Networks of bits: folded thresholds, words and files."""

from dataclasses import replace

import numpy as np
import pytest
from binary_nets import bits, net, samples
from hypothesis import given, settings
from hypothesis import strategies as st

from convert import families, vectors
from convert.binary import container, reference, view
from convert.binary.net import BitConv, ImageConv, Pool, Window, check, pack, unpack
from convert.errors import UsageError


def folded(layer: BitConv, x: np.ndarray) -> np.ndarray:
    """What kernels/bits.h says of inputs (n, taps) of 0 and 1, without planes: bits (n, outputs)."""
    t = layer.thresholds
    words = unpack(np.ascontiguousarray(layer.words.T), layer.outputs).reshape(layer.taps, layer.rows, -1)
    count = np.einsum("nk,kro->no", x, words.astype(int))
    listed = layer.rows * x.sum(1)
    planes = unpack(np.ascontiguousarray(t.words.T), layer.outputs).astype(int)
    threshold = (planes[1:] << np.arange(t.stored)[:, np.newaxis]).sum(0) + (t.high << t.stored)
    left = t.start - (listed[:, np.newaxis] >> 1) + count
    assert left.min() >= 0 and left.max() < 1 << t.planes
    assert threshold.max() + 1 <= 1 << t.planes
    return left >= threshold + (planes[0] | listed[:, np.newaxis] & 1)


@given(st.integers(0, 2**32 - 1), st.integers(1, 40), st.integers(1, 70), st.booleans())
@settings(max_examples=150, deadline=None)
def test_folded_thresholds_are_the_thresholds_of_the_sums(seed: int, taps: int, outputs: int, ternary: bool) -> None:
    rng = np.random.default_rng(seed)
    layer = bits(rng, outputs, (1, 1, taps), ternary=ternary)
    layer = replace(layer, limits=rng.integers(-taps - 3, taps + 4, outputs).astype(np.int32))
    x = np.concatenate([rng.random((30, taps)) < rng.random((30, 1)), np.zeros((1, taps)), np.ones((1, taps))])
    sums = (2 * x.astype(int) - 1) @ layer.weights.reshape(outputs, -1).T.astype(int)
    assert np.array_equal(folded(layer, x.astype(int)), sums >= layer.limits)


def test_the_smallest_sum_that_is_enough_is_told_from_the_one_below() -> None:
    layer = BitConv(np.ones((7, 1, 1, 6), np.int8), np.arange(-6, 8, 2, np.int32), (1, 1), False, False)
    x = np.tril(np.ones((7, 6), int), -1)  # sums -6, -4 ... 6
    assert np.array_equal(folded(layer, x), np.tri(7, dtype=bool))


@given(st.integers(1, 100))
def test_bits_come_back_from_words(count: int) -> None:
    found = np.random.default_rng(count).random((3, count)) < 0.5
    assert np.array_equal(unpack(pack(found), count), found)


@given(st.integers(0, 999), st.booleans(), st.booleans(), st.sampled_from([(1, 1), (2, 1), (1, 3)]))
@settings(max_examples=25, deadline=None)
def test_a_file_comes_back(seed: int, ternary: bool, same: bool, strides: tuple[int, int]) -> None:
    made = net(seed, ternary=ternary, same=same, strides=strides, shape=(13, 12, 2), filters=(5, 33))
    data = container.pack_net(made)
    again = container.unpack_net(data)
    assert container.pack_net(again) == data
    x = samples(made, 6)
    assert np.array_equal(reference.run(again, x), reference.run(made, x))
    assert again.constant_bytes == made.constant_bytes and again.macs == made.macs


def test_the_file_is_about_what_flash_holds() -> None:
    made = net(filters=(32, 64), dense=32)
    assert made.constant_bytes < len(container.pack_net(made)) < 1.5 * made.constant_bytes


@pytest.mark.parametrize("cut", [3, 10, 20, 40, -1])
def test_a_damaged_file_is_refused(cut: int) -> None:
    data = container.pack_net(net())
    with pytest.raises(UsageError, match="binary network"):
        container.unpack_net(data[:cut])


@given(st.integers(0, 60), st.integers(0, 255))
@settings(max_examples=150, deadline=None)
def test_a_changed_byte_is_refused_or_another_network(at: int, value: int) -> None:
    data = bytearray(container.pack_net(net(filters=(3, 3), dense=3)))
    data[at] = value
    try:
        found = container.unpack_net(bytes(data))
    except UsageError:
        return
    assert reference.run(found, samples(found, 1)).shape == (1, found.classes)


def test_what_does_not_fit_together_is_refused() -> None:
    made = net()
    with pytest.raises(UsageError, match="in no order that exists"):
        check(replace(made, layers=made.layers[1:]))
    with pytest.raises(UsageError, match="pooling of 3 channels does not fit"):
        check(
            replace(
                made, layers=(made.layers[0], Pool(Window((2, 2), (2, 2), False), np.zeros(3, bool)), *made.layers[2:])
            )
        )
    first = made.layers[0]
    assert isinstance(first, ImageConv)
    with pytest.raises(UsageError, match="a first layer of 9 inputs to a channel has a limit of 2,297"):
        check(replace(made, layers=(replace(first, limits=np.full(8, 2297, np.int32)), *made.layers[1:])))
    padded = Pool(Window((2, 2), (2, 2), same=True), np.zeros(8, bool))
    with pytest.raises(UsageError, match="its pooling is padded"):
        check(replace(made, layers=(first, padded, *made.layers[2:])))
    last = made.layers[-1]
    with pytest.raises(UsageError, match="more than 32 bits hold"):
        check(replace(made, layers=(*made.layers[:-1], replace(last, offsets=np.full(4, 2**31 - 1, np.int32)))))


def test_a_network_is_a_graph_like_others() -> None:
    made = net(filters=(32, 32), dense=32)
    g = view.load(container.pack_net(made))
    assert [op.name for op in g.operators] == [
        "BINARY_IMAGE_CONV", "BINARY_MAX_POOL", "BINARY_CONV", "BINARY_MAX_POOL", "BINARY_CONV", "BINARY_SCORES",
    ]  # fmt: skip
    assert (
        g.macs
        == sum(g.macs_of(op) for op in g.operators)
        == 8 * 8 * 9 * 32 + 4 * 4 * 9 * 32 * 32 + 4 * 32 * 32 + 4 * 32
    )
    assert g.tensors[2].shape == (1, 8, 8, 1) and g.tensors[2].nbytes == 256
    whites = vectors.quantize_inputs(g, np.array([[0.0, 1.0, 127 / 255] + [1 / 255] * 61], np.float32))
    assert whites.view(np.int8)[0, :4].tolist() == [-128, 127, -1, -127]


def test_a_file_that_is_not_there_is_said(tmp_path) -> None:  # type: ignore[no-untyped-def]
    own = families.of_file(tmp_path / "model.bits")
    assert own is not None and own.runtime == "binary" and families.of_file(tmp_path / "a.tflite") is None
    with pytest.raises(
        UsageError, match=r"binary network .* cannot be read .*; give the model.bits of a build's folder"
    ):
        families.from_file(tmp_path / "model.bits", own)
