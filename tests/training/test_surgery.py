from pathlib import Path
from typing import Any

import numpy as np
import pytest

from convert.scheme import Grid, Scheme
from training import backend, surgery


@pytest.fixture
def model() -> Any:
    """A residual branch, a concatenation and a layer that is called twice."""
    backend.reset(3)
    layers = backend.keras().layers
    image = layers.Input((8, 8, 3), name="image")
    x = layers.Conv2D(4, 3, padding="same", name="first")(image)
    shared = layers.Conv2D(4, 1, name="shared")
    y = layers.Add(name="sum")([x, shared(layers.ReLU(name="relu")(x))])
    z = layers.Concatenate(name="both")([y, shared(y)])
    z = layers.BatchNormalization(name="norm")(z)
    z = layers.Flatten(name="flat")(z)
    built = backend.keras().Model(image, layers.Dense(5, name="scores")(z), name="branches")
    rng = np.random.default_rng(0)
    built.set_weights([rng.uniform(0.1, 1, w.shape).astype(np.float32) for w in built.get_weights()])
    return built


@pytest.fixture
def x() -> Any:
    return np.random.default_rng(1).normal(size=(4, 8, 8, 3)).astype(np.float32)


def test_a_rebuilt_model_answers_the_same_and_shares_nothing(model: Any, x: Any) -> None:
    again = surgery.rebuild(model, {})
    assert np.array_equal(model(x), again(x))
    again.get_layer("shared").set_weights([w * 0 for w in again.get_layer("shared").get_weights()])
    assert not np.array_equal(model(x), again(x))
    assert [layer.name for layer in again.layers] == [layer.name for layer in model.layers]


def test_a_layer_is_replaced_by_several(model: Any, x: Any) -> None:
    layers = backend.keras().layers
    weights, bias = model.get_layer("scores").get_weights()
    left, values, right = np.linalg.svd(weights, full_matrices=False)

    def factors(tensor: Any) -> Any:
        inner = surgery.with_weights(layers.Dense(5, use_bias=False, name="scores_in"), [left * values])
        return surgery.with_weights(layers.Dense(5, name="scores_out"), [right, bias])(inner(tensor))

    again = surgery.rebuild(model, {"scores": factors})
    assert np.allclose(model(x), again(x), atol=1e-3)
    assert {"scores_in", "scores_out"} <= {layer.name for layer in again.layers}


def test_a_layer_is_left_out_and_another_widened(model: Any, x: Any) -> None:
    plain = surgery.rebuild(model, {"relu": surgery.skip})
    assert "relu" not in [layer.name for layer in plain.layers]
    assert not np.allclose(model(x), plain(x))
    kernel, bias = model.get_layer("scores").get_weights()
    twice = surgery.copy(model.get_layer("scores"), [np.hstack([kernel] * 2), np.hstack([bias] * 2)], units=10)
    assert np.allclose(np.hstack([model(x)] * 2), surgery.rebuild(model, {"scores": twice})(x), atol=1e-4)


def test_an_unknown_layer_is_named(model: Any) -> None:
    with pytest.raises(ValueError, match=r"has no layers scroes; it has both, first"):
        surgery.rebuild(model, {"scroes": surgery.skip})


def test_a_rebuilt_model_can_be_saved_with_its_scheme(model: Any, x: Any, tmp_path: Path) -> None:
    scheme = Scheme("int16x8", {"scores": Grid(4, (0.5, 0.25))}, coded=True)
    again = surgery.rebuild(backend.with_scheme(model, scheme), {"relu": surgery.skip})
    backend.save(again, tmp_path / "model.h5")
    loaded = backend.load(tmp_path / "model.h5")
    assert np.array_equal(loaded(x), again(x))
    assert backend.scheme(loaded) == scheme
    backend.save(loaded, tmp_path / "again.h5")
    assert (tmp_path / "again.h5").read_bytes() == (tmp_path / "model.h5").read_bytes()
