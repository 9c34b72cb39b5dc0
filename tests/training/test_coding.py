import random
import time
import zlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from training import architectures, backend, coding
from training.coding import huffman
from training.coding.bits import Reader, pack_fixed, unpack_fixed, varint, width
from training.settings.architectures import DsCnn, LeNet300

Array = np.ndarray[Any, Any]


def same(tensors: dict[str, Array], entropy: bool) -> bytes:
    """Pack, check the size that was foretold and that nothing is lost; the bytes."""
    data = coding.pack(tensors, entropy)
    assert len(data) == coding.packed_size(tensors, entropy)
    back = coding.unpack(data)
    assert list(back) == list(tensors)
    for name, tensor in tensors.items():
        assert (back[name].dtype, back[name].shape) == (tensor.dtype, tensor.shape)
        assert back[name].tobytes() == np.ascontiguousarray(tensor).tobytes()
    assert sum(c.size for c in coding.measure(tensors, entropy)) == len(data) - 7 - len(varint(len(tensors)))
    return data


def sparse(shape: tuple[int, ...], density: float, entries: int = 0, dtype: str = "float32", seed: int = 1) -> Array:
    """A random tensor with zeros, on a codebook if asked for."""
    rng = np.random.default_rng(seed)
    made = rng.normal(size=shape) * 40
    if entries:
        made = np.round(made / 80 * entries) * 80 / entries + 0.1
    return np.where(rng.random(shape) < density, made, 0).astype(dtype)


SHAPES = hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=9)
FEW = st.sampled_from([0, 0, 0, 0, 1, -2, 3])
TENSORS = st.one_of(
    hnp.arrays(np.float32, SHAPES, elements=st.floats(width=32, allow_nan=False)),
    hnp.arrays(np.int8, SHAPES),
    hnp.arrays(np.int8, SHAPES, elements=FEW),
    hnp.arrays(np.float32, SHAPES, elements=FEW),
    hnp.arrays(np.int32, SHAPES),
    hnp.arrays(np.int16, SHAPES, elements=FEW),
)


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(st.text(max_size=9), TENSORS, max_size=3), st.booleans())
def test_nothing_is_lost(tensors: dict[str, Array], entropy: bool) -> None:
    same(tensors, entropy)


@pytest.mark.parametrize("entropy", [False, True])
@pytest.mark.parametrize(
    "tensor",
    [
        np.zeros((0, 3), np.float32),
        np.zeros((300, 200), np.float32),
        np.full((50, 60), 1.5, np.float32),
        np.float32(3.25).reshape(()),
        np.eye(1, 500_000, 499_999, dtype=np.float32).reshape(5000, 100),
        np.array([[-0.0, 0.0, np.inf, -np.inf, np.nan, 1e-42]] * 40, np.float32),
        np.asfortranarray(sparse((40, 50), 0.3)),
        sparse((40, 50), 0.3)[::2, ::-1],
        sparse((64, 64), 0.5).astype(">f4").astype(np.float32),
        sparse((5, 5, 20, 50), 0.1, 16),
        sparse((5, 5, 20, 50), 0.4, dtype="int8"),
        sparse((1000,), 1.0, 5, dtype="float16"),
    ],
    ids=str,
)
def test_special_tensors(tensor: Array, entropy: bool) -> None:
    same({"a": tensor}, entropy)


def test_zeros_and_constants_cost_no_bits() -> None:
    assert len(same({"": np.zeros((3000, 2000), np.float32)}, True)) < 25
    assert len(same({"": np.full((3000, 2000), 1.5, np.float32)}, True)) < 25


def test_positions_and_values_come_near_their_entropy() -> None:
    density, entries = 0.06, 16
    tensor = sparse((784, 300), density, entries)
    (coded,) = coding.measure({"a": tensor})
    ideal = -(np.log2(density) + (1 - density) / density * np.log2(1 - density))
    assert ideal < coded.position_bits < 1.02 * ideal
    _, counts = np.unique(tensor[tensor != 0], return_counts=True)
    share = counts / counts.sum()
    entropy = -float(share @ np.log2(share))
    assert entropy < coded.value_bits < entropy + 0.1
    (plain,) = coding.measure({"a": tensor}, entropy=False)
    assert plain.value_bits == pytest.approx(width(len(counts)), abs=0.01)
    assert plain.positions.endswith("-bit gaps")
    assert plain.size > coded.size


def test_each_format_is_chosen_where_it_is_smallest() -> None:
    def formats(tensor: Array, entropy: bool = False) -> tuple[str, str]:
        (coded,) = coding.measure({"a": tensor}, entropy)
        return coded.positions, coded.values

    assert formats(sparse((90, 80), 1.0)) == ("dense", "raw")
    assert formats(sparse((90, 80), 0.4)) == ("bitmap", "raw")
    assert formats(sparse((90, 80), 0.02))[0] == "7-bit gaps"
    assert formats(sparse((400, 300), 0.02), True)[0].startswith("Huffman")
    assert formats(np.tile(np.float32([1, 2, 3, 4]), 99))[1] == "codebook of 4, 2-bit indices"
    each = np.random.default_rng(2).choice([0.5, 1.5], (400, 30)) * np.geomspace(1, 9, 30)
    assert formats(each.astype(np.float32)) == ("dense", "codebook of a channel of 2, 1-bit indices")


def test_numbers_that_are_half_precision_take_two_bytes() -> None:
    exact = np.arange(100, dtype=np.float32) / 8
    assert len(same({"": exact}, False)) == len(same({"": exact + np.float32(1e-5)}, False)) - 200


def test_channels_of_either_order_are_understood() -> None:
    tensor = np.zeros((64, 50), np.float32)
    tensor[:, 7] = np.random.default_rng(1).choice([1, 2, 3], 64)
    tensor[5, :] = 4
    sizes = [len(same({"a": t}, True)) for t in (tensor, tensor.T.copy())]
    assert max(sizes) < 120
    assert max(sizes) - min(sizes) < 10  # the better order is found in both


def test_damaged_bytes_are_refused() -> None:
    data = same({"a": sparse((30, 20), 0.2, 8), "b": sparse((20,), 1.0)}, True)
    for cut in range(len(data)):
        with pytest.raises(ValueError, match="packed"):
            coding.unpack(data[:cut])
    for at in range(len(data)):
        changed = bytearray(data)
        changed[at] ^= 1 << at % 8
        with pytest.raises(ValueError, match="packed"):
            coding.unpack(bytes(changed))
    with pytest.raises(ValueError, match="packed"):
        coding.unpack(data + b"\0")


def test_damage_under_a_right_checksum_ends_in_an_error_or_an_answer() -> None:
    data = same({"a": sparse((30, 20), 0.2, 8), "b": sparse((9, 20), 0.5, dtype="int8")}, True)
    draw, refused = random.Random(1), 0
    for _ in range(3000):
        body = bytearray(data[:-4])
        for _ in range(draw.randint(1, 3)):
            body[draw.randrange(3, len(body))] = draw.randrange(256)
        if draw.random() < 0.3:
            del body[draw.randrange(4, len(body)) :]
        try:
            coding.unpack(bytes(body) + zlib.crc32(body).to_bytes(4, "little"))
        except ValueError:
            refused += 1
    assert refused > 1500


def test_what_has_no_code_is_named() -> None:
    with pytest.raises(ValueError, match=r"a is float64 \(3,\); up to"):
        coding.pack({"a": np.zeros(3)})


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(0, 300), min_size=2, max_size=300).filter(lambda c: sum(n > 0 for n in c) > 1))
def test_huffman_codes_are_optimal_prefix_codes(counts: list[int]) -> None:
    found = huffman.lengths(np.array(counts))
    used = found[found > 0]
    assert (2.0**-used).sum() == 1
    share = np.array([c for c in counts if c]) / sum(counts)
    mean, entropy = float(np.dot(counts, found)) / sum(counts), -float(share @ np.log2(share))
    assert entropy - 1e-9 <= mean < entropy + 1
    symbols = np.repeat(np.arange(len(counts)), counts)
    data = huffman.encode(symbols, len(counts))
    assert len(data) == huffman.size(np.bincount(symbols, minlength=len(counts)))
    assert np.array_equal(huffman.decode(Reader(data), len(counts), len(symbols)), symbols)


def test_long_codes_are_limited() -> None:
    counts = np.array([int(1.7**k) for k in range(40)])
    found = huffman.lengths(counts)
    assert 10 < found.max() <= huffman.LONGEST
    assert (2.0**-found).sum() == 1


def test_streams_longer_than_a_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huffman, "CHUNK", 64)
    symbols = np.random.default_rng(1).geometric(0.3, 5000).clip(max=20)
    assert np.array_equal(huffman.decode(Reader(huffman.encode(symbols, 21)), 21, 5000), symbols)


@given(st.integers(1, 40), st.lists(st.integers(0, 2**40 - 1), max_size=40))
def test_fixed_widths(bits: int, numbers: list[int]) -> None:
    kept = np.array([n % (1 << bits) for n in numbers], np.int64)
    assert np.array_equal(unpack_fixed(pack_fixed(kept, bits), bits, len(kept)), kept)


def test_a_lenet_is_packed_in_a_second_or_two() -> None:
    tensors = {"a": sparse((800, 500), 1.0, 200), "b": sparse((800, 500), 0.08, 32)}
    start = time.process_time()
    same(tensors, True)
    assert time.process_time() - start < 20  # six passes over 800,000 weights, on any machine


def test_a_models_weights_are_all_there() -> None:
    backend.reset(1)
    model = architectures.build(LeNet300(architecture="lenet_300_100"), (8, 8, 1), 10)
    tensors = coding.keras_tensors(model)
    assert sum(t.size for t in tensors.values()) == model.count_params()
    assert list(tensors) == [f"{n}/{w}" for n in ("dense1", "dense2", "scores") for w in ("kernel", "bias")]
    kernel = model.get_layer("dense1").kernel
    kernel.assign(kernel * -0.0)
    assert not np.signbit(coding.keras_tensors(model)["dense1/kernel"]).any()


def test_batch_normalisation_is_a_factor_and_a_summand() -> None:
    backend.reset(1)
    small = DsCnn(architecture="ds_cnn", stem_filters=4, stem_stride=1, blocks=[{"filters": 8}])  # type: ignore[list-item]
    model = architectures.build(small, (8, 8, 1), 10)
    layer = model.get_layer("stem_norm")
    layer.set_weights([np.random.default_rng(k).random(4).astype(np.float32) + 0.5 for k in range(4)])
    tensors = coding.keras_tensors(model)
    x = np.random.default_rng(9).normal(size=(5, 3, 3, 4)).astype(np.float32)
    assert np.allclose(layer(x), x * tensors["stem_norm/scale"] + tensors["stem_norm/shift"], atol=1e-5)


def test_a_quantisation_aware_model_has_the_same_weights() -> None:
    backend.reset(1)
    small = DsCnn(architecture="ds_cnn", stem_filters=4, stem_stride=1, blocks=[{"filters": 8}])  # type: ignore[list-item]
    model = architectures.build(small, (8, 8, 1), 10)
    quantised = backend.tfmot().quantization.keras.quantize_model(model)
    plain, wrapped = coding.keras_tensors(model), coding.keras_tensors(quantised)
    assert list(wrapped) == list(plain)
    assert all(np.array_equal(wrapped[name], plain[name]) for name in plain)
