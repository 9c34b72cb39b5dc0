from pathlib import Path
from typing import Any

import numpy as np
import pytest

from convert.errors import UsageError
from training import architectures, backend, compression, fitting
from training.compression import structured_sparsity, zeros
from training.settings.architectures import DsCnn, LeNet
from training.settings.pruning import StructuredSparsity
from training.settings.quantization import Pqat


@pytest.fixture
def model() -> Any:
    """Kernels 3x3x1x6, 3x3x6x9, 36x12 (after pooling), 12x10."""
    backend.reset(1)
    return architectures.build(LeNet(architecture="lenet", filters=[6, 9], dense=[12]), (8, 8, 1), 10)


def settings(**changes: object) -> StructuredSparsity:
    plain = {"technique": "structured_sparsity", "epochs": 2, "batch_size": 32, "learning_rate": 0.01}
    return StructuredSparsity.model_validate({**plain, **changes})


def kernels(model: Any) -> dict[str, Any]:
    return {name: np.asarray(variable) for name, variable in zeros.kernels(model).items()}


def groups(kernel: Any, m: int) -> Any:
    """Weights that are not zero in every group of m neighbours of TFLite's layout, outputs first, inputs last."""
    rows = np.moveaxis(kernel, -1, 0).reshape(-1, kernel.shape[-2])
    return np.add.reduceat(rows != 0, np.arange(0, rows.shape[1], m), axis=1, dtype=int)


def tiles(kernel: Any, block: tuple[int, int]) -> list[Any]:
    matrix = kernel.reshape(-1, kernel.shape[-1])
    height, width = block
    return [
        matrix[r : r + height, c : c + width]
        for r in range(0, matrix.shape[0], height)
        for c in range(0, matrix.shape[1], width)
    ]


@pytest.mark.parametrize(("n", "m"), [(2, 4), (1, 4), (4, 8), (3, 5)])
@pytest.mark.parametrize("rounds", [1, 2])
def test_n_of_m_is_exact_in_every_group(model: Any, data: fitting.TrainingData, n: int, m: int, rounds: int) -> None:
    before = kernels(model)
    after = kernels(compression.apply(model, data, settings(n=n, m=m, rounds=rounds)))
    first, *others = before
    assert (after[first] != 0).all()  # one input channel: no neighbours
    for name in others:
        found = groups(after[name], m)
        whole = after[name].shape[-2] // m
        assert (found[:, :whole] == n).all()
        assert (found <= n).all()  # also in a shorter last group
        assert not np.array_equal(after[name], before[name])


def test_the_largest_of_every_group_stay(model: Any) -> None:
    kernel = kernels(model)["dense1" if "dense1" in kernels(model) else list(kernels(model))[2]]
    mask = structured_sparsity.n_of_m(kernel, 2, 4)
    sizes, kept = (a.T.reshape(-1, 4) for a in (np.abs(kernel), mask))
    assert np.array_equal(np.sort(np.argsort(-sizes)[:, :2]), np.sort(np.argsort(~kept, kind="stable")[:, :2]))


@pytest.mark.parametrize("block", [(4, 1), (1, 4), (3, 2)])
@pytest.mark.parametrize("rounds", [1, 3])
def test_blocks_are_whole(model: Any, data: fitting.TrainingData, block: tuple[int, int], rounds: int) -> None:
    asked = settings(pattern="blocks", block=list(block), sparsity=0.6, rounds=rounds, epochs=1)
    after = kernels(compression.apply(model, data, asked))
    for kernel in after.values():
        parts = tiles(kernel, block)
        assert all((part != 0).all() or (part == 0).all() for part in parts)
        assert sum((part != 0).any() for part in parts) == round(0.4 * len(parts))


def test_blocks_are_those_of_tfmot_where_it_has_them() -> None:
    """A dense kernel, pruned by TFMOT's block_size in its first and only update."""
    backend.reset(4)
    keras, sparsity = backend.keras(), backend.tfmot().sparsity.keras
    dense = keras.layers.Dense(8, name="dense")
    schedule = sparsity.ConstantSparsity(0.5, 0, frequency=1)
    wrapped = sparsity.prune_low_magnitude(dense, pruning_schedule=schedule, block_size=(4, 2), input_shape=(16,))
    built = keras.Sequential([wrapped])
    built.compile("sgd", "mse")
    kernel = np.asarray(dense.kernel)
    built.optimizer.learning_rate = 0.0
    x = np.zeros((2, 16)), np.zeros((2, 8))
    built.fit(*x, epochs=2, verbose=0, callbacks=[sparsity.UpdatePruningStep()])
    asked = settings(pattern="blocks", block=[4, 2], sparsity=0.5)
    ours = structured_sparsity.mask(kernel, np.ones((16, 8), bool), 8, asked, 1)
    assert np.array_equal(ours, np.asarray(dense.kernel) != 0)


def test_depthwise_kernels_have_blocks_of_their_windows(data: fitting.TrainingData) -> None:
    backend.reset(1)
    kind = DsCnn.model_validate(
        {"architecture": "ds_cnn", "stem_filters": 4, "stem_stride": 1, "blocks": [{"filters": 8}]}
    )
    built = architectures.build(kind, (8, 8, 1), 10)
    asked = settings(pattern="blocks", block=[3, 1], depthwise=True, sparsity=0.5)
    kernel = kernels(compression.apply(built, data, asked))["block1_depthwise"]
    rows = (kernel.reshape(9, 4) != 0).reshape(3, 3, 4).sum(axis=1)
    assert set(rows.ravel()) == {0, 3}
    assert (rows > 0).sum() == 6


def test_the_pattern_survives_quantisation_aware_training_and_files(
    model: Any, data: fitting.TrainingData, tmp_path: Path
) -> None:
    for name in ("one.h5", "two.h5"):
        backend.reset(1)
        built = architectures.build(LeNet(architecture="lenet", filters=[6, 9], dense=[12]), (8, 8, 1), 10)
        result = compression.apply(built, data, settings())
        backend.save(result, tmp_path / name)
    assert (tmp_path / "one.h5").read_bytes() == (tmp_path / "two.h5").read_bytes()
    loaded = backend.load(tmp_path / "one.h5")
    quantised = compression.apply(loaded, data, Pqat(technique="pqat", epochs=2, batch_size=32, learning_rate=0.01))
    names = compression.pruned(model, settings())
    assert len(names) == 3
    assert all((groups(kernels(quantised)[name], 4) <= 2).all() for name in names)


def test_a_model_that_no_layer_of_can_have_the_pattern_is_refused(model: Any, data: fitting.TrainingData) -> None:
    with pytest.raises(UsageError, match=r"no layer of the model can have the pattern n = 40 of m = 64: all are in"):
        compression.apply(model, data, settings(n=40, m=64))
    with pytest.raises(UsageError, match=r"compress\.skip names 'dense9'"):
        compression.apply(model, data, settings(skip=["dense9"]))
