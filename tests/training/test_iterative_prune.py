from pathlib import Path
from typing import Any

import numpy as np
import pytest

from convert.errors import UsageError
from training import architectures, backend, compression, fitting
from training.compression import dead, iterative_prune, masks, rounds, zeros
from training.settings.architectures import DsCnn, LeNet, LeNet300
from training.settings.pruning import IterativePrune


@pytest.fixture
def model() -> Any:
    """Dense layers of 30, 10 and 10 units over 64 pixels, with dropout before the last two."""
    backend.reset(1)
    return architectures.build(LeNet300(architecture="lenet_300_100", width=0.1, dropout=0.4), (8, 8, 1), 10)


@pytest.fixture
def convolutions() -> Any:
    backend.reset(1)
    built = architectures.build(LeNet(architecture="lenet", filters=[6, 8], dense=[12]), (8, 8, 1), 10)
    return _with_biases(built)


def settings(**changes: object) -> IterativePrune:
    plain: dict[str, object] = {"technique": "iterative_prune", "epochs": 1, "batch_size": 32, "rounds": 2}
    target: dict[str, object] = {} if "quality" in changes else {"sparsity": 0.75}
    return IterativePrune.model_validate({**plain, **target, **changes})


STILL = {"learning_rate": 1e-12, "remove_dead": False}  # nothing moves, so what was chosen can be seen


def kernels(model: Any) -> dict[str, Any]:
    return {name: np.asarray(variable) for name, variable in zeros.kernels(model).items()}


def _with_biases(model: Any) -> Any:
    """Random biases and batch normalisations, as after training."""
    rng = np.random.default_rng(5)
    for layer in model.layers:
        layer.set_weights([rng.uniform(0.2, 1, w.shape) if w.ndim == 1 else w for w in layer.get_weights()])
    return model


# Which weights go


def test_every_round_removes_the_same_share() -> None:
    left = 1000
    counts = [left := rounds.kept(left, 1000, 0.936, further) for further in (2, 1, 0)]
    assert counts == [400, 160, 64]
    assert rounds.kept(50, 1000, 0.936, 1) == 50  # already sparser: nothing to do


def test_a_layer_keeps_its_largest_weights_where_they_were(model: Any, data: fitting.TrainingData) -> None:
    before = kernels(model)
    after = kernels(compression.apply(model, data, settings(layers={"dense2": 0.9}, skip=["scores"], **STILL)))
    for name, sparsity in (("dense1", 0.75), ("dense2", 0.9), ("scores", 0)):
        mask = after[name] != 0
        assert mask.sum() == round(mask.size * (1 - sparsity))
        assert np.abs(before[name][mask]).min() >= np.abs(before[name][~mask]).max(initial=0)
        # Trained on from where they were, and not from anew.
        assert np.allclose(after[name][mask], before[name][mask], atol=1e-6)


def test_quality_is_a_threshold_in_standard_deviations(model: Any, data: fitting.TrainingData) -> None:
    before = kernels(model)
    after = kernels(compression.apply(model, data, settings(quality=0.8, rounds=1, **STILL)))
    for name, kernel in before.items():
        assert np.array_equal(after[name] != 0, np.abs(kernel) > 0.8 * np.std(kernel))


@pytest.mark.parametrize("rank", ["magnitude", "deviation", "lamp"])
def test_a_global_target_is_met_by_all_layers_together(model: Any, data: fitting.TrainingData, rank: str) -> None:
    model.get_layer("dense1").set_weights([w / 100 for w in model.get_layer("dense1").get_weights()])
    before = kernels(model)
    changes = {"scope": "global", "rank": rank, "sparsity": 0.9, **STILL}
    after = kernels(compression.apply(model, data, settings(**changes)))
    left = {name: int((kernel != 0).sum()) for name, kernel in after.items()}
    assert sum(left.values()) == round(sum(kernel.size for kernel in before.values()) / 10)
    # By magnitude the scaled-down layer loses all but the one weight that every layer keeps.
    assert (left["dense1"] == 1) == (rank == "magnitude")


def test_lamp_is_the_share_of_the_squares_that_are_left() -> None:
    assert iterative_prune.lamp(np.array([[1.0, 0.0], [3.0, 2.0]])) == pytest.approx(
        np.array([[1 / 14, 0], [1, 4 / 13]])
    )


def test_layers_that_the_step_does_not_prune_are_refused(model: Any, data: fitting.TrainingData) -> None:
    with pytest.raises(UsageError, match=r"compress\.layers names 'dense3', which the step does not prune; it prunes"):
        compression.apply(model, data, settings(layers={"dense3": 0.5}))
    with pytest.raises(UsageError, match=r"compress\.skip leaves no layer to prune"):
        compression.apply(model, data, settings(skip=["dense1", "dense2", "scores"]))


def test_a_quality_that_leaves_nothing_is_refused(model: Any, data: fitting.TrainingData) -> None:
    with pytest.raises(UsageError, match=r"compress\.quality = 9 prunes every weight of layer dense1; lower it"):
        compression.apply(model, data, settings(quality=9))


# Retraining


def test_zeros_stay_and_the_others_move(model: Any, data: fitting.TrainingData) -> None:
    names = ["dense1", "dense2", "scores"]
    chosen = {n: masks.largest(np.abs(k), k.size // 3, k != 0) for n, k in kernels(model).items()}
    constrained = masks.constrained(model, chosen)
    start, seen = masks.kernels(constrained, names), []

    class Watch(backend.keras().callbacks.Callback):  # type: ignore[misc]
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            del batch, logs
            now = masks.kernels(constrained, names)
            seen.append(all((now[n][~chosen[n]] == 0).all() for n in names))

    fitting.fit(constrained, data, settings(epochs=4, learning_rate=0.1), "test", callbacks=[Watch()])
    assert seen == [True] * 8
    assert all((masks.kernels(constrained, [n])[n] != start[n])[chosen[n]].mean() > 0.5 for n in names)


def test_the_constraint_is_the_same_as_masked_gradients() -> None:
    tf, keras = backend.tensorflow(), backend.keras()
    rng = np.random.default_rng(0)
    mask = rng.random((6, 3)) < 0.5
    x, y = (tf.constant(rng.normal(size=(8, n)), tf.float32) for n in (6, 3))
    start = [w.astype(np.float32) for w in (rng.normal(size=(6, 3)) * mask, rng.normal(size=3))]
    inputs = keras.layers.Input((6,))
    plain = keras.Model(inputs, keras.layers.Dense(3, name="one")(inputs))
    plain.set_weights(start)
    constrained = masks.constrained(plain, {"one": mask})
    for model, by_gradient in ((plain, True), (constrained, False)):
        optimizer = keras.optimizers.Adam(0.05)
        for _ in range(20):
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean((model(x) - y) ** 2)
            slopes = tape.gradient(loss, model.trainable_variables)
            if by_gradient:
                slopes[0] *= mask
            optimizer.apply_gradients(zip(slopes, model.trainable_variables, strict=True))
    for one, other in zip(plain.get_weights(), constrained.get_weights(), strict=True):
        assert np.allclose(one, other, atol=1e-6)


def test_weights_that_come_back_are_noticed(model: Any) -> None:
    chosen = {"dense1": kernels(model)["dense1"] > 0}
    with pytest.raises(RuntimeError, match=r"\d+ pruned weights of layer dense1 came back"):
        masks.released(model, model, chosen)


def test_regularisation_makes_weights_small_and_leaves_no_trace(model: Any, data: fitting.TrainingData) -> None:
    sizes = {}
    for kind, strength in (("l2", 0.0), ("l2", 0.1), ("l1", 0.1)):
        changes = {"regularizer": kind, "regularization": strength, "epochs": 10, "learning_rate": 0.01}
        result = compression.apply(model, data, settings(**changes, remove_dead=False))
        assert not result.losses
        assert result.get_layer("dense1").kernel_constraint is None
        sizes[kind, strength] = float(np.abs(kernels(result)["dense1"]).sum())
    assert sizes["l2", 0.1] < 0.8 * sizes["l2", 0.0]
    assert sizes["l1", 0.1] < 0.8 * sizes["l2", 0.0]


def test_dropout_falls_with_the_root_of_the_connections(model: Any, data: fitting.TrainingData) -> None:
    result = compression.apply(model, data, settings(layers={"dense2": 0.91}, **STILL))
    assert result.get_layer("dense2_dropout").rate == pytest.approx(0.4 * 0.3)
    assert result.get_layer("scores_dropout").rate == pytest.approx(0.4 * 0.5)
    same = compression.apply(model, data, settings(reduce_dropout=False, **STILL))
    assert same.get_layer("dense2_dropout").rate == pytest.approx(0.4)


def test_the_teacher_is_learned_from(model: Any, data: fitting.TrainingData) -> None:
    taught = data.with_teacher(model)
    one, two = (kernels(compression.apply(model, taught, settings(distillation=d))) for d in (0.0, 0.9))
    assert not np.allclose(one["scores"], two["scores"], atol=1e-4)


def test_the_same_bytes_twice_and_after_reloading(data: fitting.TrainingData, tmp_path: Path) -> None:
    for name in ("one.h5", "two.h5"):
        backend.reset(1)
        built = architectures.build(LeNet300(architecture="lenet_300_100", width=0.1, dropout=0.4), (8, 8, 1), 10)
        result = compression.apply(built, data, settings(scope="global", sparsity=0.95))
        backend.save(result, tmp_path / name)
    assert (tmp_path / "one.h5").read_bytes() == (tmp_path / "two.h5").read_bytes()
    x, loaded = data.dataset.x_test, backend.load(tmp_path / "one.h5")
    assert np.array_equal(fitting.predict(loaded, x), fitting.predict(result, x))
    assert {n: k.shape for n, k in kernels(loaded).items()} == {n: k.shape for n, k in kernels(result).items()}
    assert zeros.kernels(loaded)["dense1"].shape[1] < 30  # so sparse, some unit was dead
    assert compression.pruned(loaded, settings()) == ["dense1", "dense2", "scores"]


# Dead units


def kill(model: Any, name: str, reads: tuple[int, ...] = (), writes: tuple[int, ...] = ()) -> None:
    """Set to zero all that input channels `reads` and output channels `writes` of a layer go through."""
    kernel, *bias = model.get_layer(name).get_weights()
    kernel[..., list(reads), :] = 0
    kernel[..., list(writes)] = 0
    model.get_layer(name).set_weights([kernel, *bias])


def test_dead_units_of_dense_layers_go_and_the_answers_stay(model: Any, data: fitting.TrainingData) -> None:
    _with_biases(model)
    kill(model, "dense1", writes=(0, 3, 7))  # without inputs: their biases still count
    kill(model, "dense2", reads=(3, 5))  # 3 has neither, 5 is not read
    smaller = dead.remove(model)
    assert {n: k.shape for n, k in kernels(smaller).items()} == {
        "dense1": (64, 26),
        "dense2": (26, 10),
        "scores": (10, 10),
    }
    x = data.dataset.x_test
    assert np.allclose(fitting.predict(model, x), fitting.predict(smaller, x), atol=1e-6)


def test_what_only_a_dead_unit_reads_goes_with_it(model: Any, data: fitting.TrainingData) -> None:
    _with_biases(model)
    kernel, bias = model.get_layer("dense2").get_weights()
    kernel[4, 1:] = 0  # unit 4 of dense1 is read by unit 0 of dense2 alone
    model.get_layer("dense2").set_weights([kernel, bias])
    kill(model, "scores", reads=(0,))
    smaller = dead.remove(model)
    assert kernels(smaller)["dense1"].shape == (64, 29)
    assert kernels(smaller)["dense2"].shape == (29, 9)
    x = data.dataset.x_test
    assert np.allclose(fitting.predict(model, x), fitting.predict(smaller, x), atol=1e-6)


def test_dead_filters_go_through_pooling_and_flattening(convolutions: Any, data: fitting.TrainingData) -> None:
    names = [name for name, kernel in kernels(convolutions).items() if kernel.ndim == 4]
    kill(convolutions, names[1], writes=(2, 6), reads=(1,))
    first, second = convolutions.get_layer(names[0]), convolutions.get_layer(names[1])
    smaller = dead.remove(convolutions)
    assert smaller.get_layer(names[0]).filters == first.filters - 1
    assert smaller.get_layer(names[1]).filters == second.filters - 2
    x = data.dataset.x_test
    assert np.allclose(fitting.predict(convolutions, x), fitting.predict(smaller, x), atol=1e-5)


def test_dead_filters_go_through_normalisation_and_depthwise_layers(data: fitting.TrainingData) -> None:
    backend.reset(1)
    blocks = [{"filters": 8, "stride": 2}, {"filters": 8}]
    kind = DsCnn.model_validate({"architecture": "ds_cnn", "stem_filters": 6, "stem_stride": 1, "blocks": blocks})
    built = _with_biases(architectures.build(kind, (8, 8, 1), 10))
    norm, layer = built.get_layer("block1_pointwise_norm"), built.get_layer("block2_depthwise")
    norm.set_weights([*norm.get_weights()[:2], np.full(8, -1.0), np.full(8, 1.0)])
    layer.set_weights([np.ones_like(w) for w in layer.get_weights()])
    kill(built, "block1_pointwise", writes=(1,))  # through a padded depthwise layer its constant varies at the borders
    kill(built, "block2_pointwise", writes=(4,), reads=(5,))  # before average pooling: a constant
    smaller = dead.remove(built)
    assert {name: k.shape[-1] for name, k in kernels(smaller).items() if "pointwise" in name} == {
        "block1_pointwise": 7,  # 5, which is not read
        "block2_pointwise": 7,
    }
    assert smaller.get_layer("block2_depthwise").get_weights()[0].shape == (3, 3, 7, 1)
    x = data.dataset.x_test
    assert np.allclose(fitting.predict(built, x), fitting.predict(smaller, x), atol=1e-5)


@pytest.mark.parametrize(("padding", "bias", "left"), [("valid", 0.5, 3), ("same", 0.5, 4), ("same", -0.5, 3)])
def test_padding_keeps_what_a_bias_cannot_say(padding: str, bias: float, left: int) -> None:
    backend.reset(1)
    layers = backend.keras().layers
    image = layers.Input((6, 6, 2))
    x = layers.Conv2D(4, 3, activation="relu", name="first")(image)
    x = layers.Conv2D(3, 3, padding=padding, use_bias=False, name="second")(x)
    built = backend.keras().Model(image, x)
    kill(built, "first", writes=(2,))
    built.get_layer("first").set_weights([built.get_layer("first").get_weights()[0], np.full(4, bias)])
    smaller = dead.remove(built)
    assert smaller.get_layer("first").filters == left
    assert smaller.get_layer("second").use_bias == (padding == "valid")
    x = np.random.default_rng(0).normal(size=(3, 6, 6, 2)).astype(np.float32)
    assert np.allclose(built(x), smaller(x), atol=1e-5)


def test_the_last_unit_and_units_before_a_sum_stay(model: Any) -> None:
    kill(model, "dense2", writes=tuple(range(10)))
    assert kernels(dead.remove(model))["dense2"].shape == (1, 1)
    layers = backend.keras().layers
    vector = layers.Input((4,))
    x = layers.Dense(4, name="first")(vector)
    built = backend.keras().Model(vector, layers.Dense(2, name="last")(layers.Add()([x, vector])))
    kill(built, "first", writes=(1,))
    assert dead.remove(built) is built
