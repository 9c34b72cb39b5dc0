"""Folding of batch normalisation: the same function with fewer layers."""

from typing import Any

import numpy as np
import pytest

from training import backend, folding


def _drawn(model: Any) -> Any:
    """The model with normalisations whose statistics and parameters are not those they start with."""
    rng = np.random.default_rng(5)
    for layer in model.layers:
        if type(layer).__name__ == "BatchNormalization":
            layer.set_weights([rng.uniform(0.1, 2, w.shape) for w in layer.get_weights()])
    return model


def _kinds(model: Any) -> list[str]:
    return [type(layer).__name__ for layer in model.layers]


def _assert_same(model: Any, folded: Any) -> None:
    x = np.random.default_rng(2).normal(size=(4, *model.input_shape[1:])).astype(np.float32)
    expected = np.asarray(model(x, training=False))
    np.testing.assert_allclose(np.asarray(folded(x, training=False)), expected, rtol=1e-4, atol=1e-5)


def test_every_kind_of_layer_takes_its_normalisation() -> None:
    """Convolutions with and without bias, depthwise ones with a multiplier, and dense layers."""
    backend.reset(1)
    layers = backend.keras().layers
    image = layers.Input((8, 8, 3))
    x = layers.BatchNormalization(name="n1")(layers.Conv2D(6, 3, use_bias=False, name="conv")(image))
    x = layers.ReLU()(x)
    x = layers.BatchNormalization(name="n2", scale=False)(
        layers.DepthwiseConv2D(3, depth_multiplier=2, name="depthwise")(x)
    )
    x = layers.BatchNormalization(name="n3", center=False)(
        layers.Conv2D(4, 1, bias_initializer="ones", name="pointwise")(x)
    )
    x = layers.BatchNormalization(name="n4")(layers.Dense(5, name="dense")(layers.Flatten()(x)))
    model = _drawn(backend.keras().Model(image, x))
    folded = folding.fold(model)
    assert "BatchNormalization" in _kinds(model)
    assert "BatchNormalization" not in _kinds(folded)
    assert all(folded.get_layer(name).use_bias for name in ("conv", "depthwise", "pointwise", "dense"))
    _assert_same(model, folded)


def test_what_cannot_be_folded_stays() -> None:
    """A layer with an activation, one that two layers read, and a normalisation of the input."""
    backend.reset(1)
    layers = backend.keras().layers
    image = layers.Input((8, 8, 3))
    x = layers.BatchNormalization(name="of_input")(image)
    x = layers.Conv2D(4, 3, padding="same", activation="relu", name="active")(x)
    x = layers.BatchNormalization(name="after_relu")(x)
    shared = layers.Conv2D(4, 3, padding="same", name="shared")(x)
    x = layers.Add()([layers.BatchNormalization(name="one_of_two")(shared), shared])
    model = _drawn(backend.keras().Model(image, x))
    folded = folding.fold(model)
    assert _kinds(folded).count("BatchNormalization") == 3
    _assert_same(model, folded)


@pytest.mark.parametrize("architecture", ["ds_cnn", "lenet", "temporal_cnn"])
def test_families_lose_all_normalisations(architecture: str) -> None:
    """The families that normalise are plain convolutions afterwards."""
    from training import architectures
    from training.settings.architectures import DsCnn, LeNet, SeparableBlock, TemporalBlock, TemporalCnn

    settings: Any = {
        "ds_cnn": DsCnn(architecture="ds_cnn", blocks=[SeparableBlock(filters=8, stride=2)]),
        "lenet": LeNet(architecture="lenet"),
        "temporal_cnn": TemporalCnn(architecture="temporal_cnn", blocks=[TemporalBlock(filters=8)]),
    }[architecture]
    backend.reset(1)
    model = _drawn(architectures.build(settings, (32, 1, 6) if architecture == "temporal_cnn" else (16, 16, 1), 3))
    folded = folding.fold(model)
    assert "BatchNormalization" not in _kinds(folded)
    _assert_same(model, folded)
