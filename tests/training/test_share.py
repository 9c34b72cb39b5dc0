from pathlib import Path
from typing import Any

import numpy as np
import pytest

from convert.errors import UsageError
from training import architectures, backend, coding, compression, fitting, surgery
from training.compression import share, zeros
from training.progress import Reporter
from training.settings.architectures import DsCnn, LeNet300
from training.settings.pruning import Prune
from training.settings.sharing import Huffman, Share

SMALL = DsCnn(architecture="ds_cnn", stem_filters=4, stem_stride=1, blocks=[{"filters": 8, "stride": 2}])  # type: ignore[list-item]


def cnn() -> Any:
    backend.reset(1)
    return architectures.build(SMALL, (8, 8, 1), 10)


def dense() -> Any:
    backend.reset(1)
    return architectures.build(LeNet300(architecture="lenet_300_100", width=0.2), (8, 8, 1), 10)


def settings(**changes: object) -> Share:
    return Share.model_validate({"technique": "share", "epochs": 2, "batch_size": 32, "entries": 8, **changes})


def drawn(count: int = 4000, zero: float = 0.0, seed: int = 1) -> Any:
    rng = np.random.default_rng(seed)
    return np.where(rng.random(count) < zero, 0, rng.normal(size=count)).astype(np.float32)


def squared_error(weight: Any, book: share.Book) -> float:
    return float(((weight - book.values()) ** 2).mean())


@pytest.mark.parametrize("method", ["kmeans", "mixture"])
@pytest.mark.parametrize("initialization", ["linear", "random", "density"])
def test_a_codebook_has_the_entries_asked_for_and_each_is_its_weights_mean(method: str, initialization: str) -> None:
    weight = drawn(zero=0.5).reshape(40, 100)
    asked = settings(method=method, initialization=initialization)
    book = share.codebook(weight, 8, asked, np.random.default_rng(1))
    again = share.codebook(weight, 8, asked, np.random.default_rng(1))
    assert np.array_equal(book.entries, again.entries) and np.array_equal(book.places, again.places)
    assert 4 <= len(book.entries) <= 8
    assert (np.diff(book.entries) > 0).all()
    assert np.array_equal(book.places == 0, weight == 0)
    for number, entry in enumerate(book.entries, 1):
        assert entry == pytest.approx(weight[book.places == number].mean(), abs=1e-5)


def test_k_means_comes_near_the_best_quantiser_of_a_normal_distribution() -> None:
    # Max, "Quantizing for Minimum Distortion", 1960: 0.03454 with 8 levels, 0.1175 with 4.
    weight = drawn(100_000)
    for entries, best in ((4, 0.1175), (8, 0.03454)):
        book = share.codebook(weight, entries, settings(), np.random.default_rng(1))
        assert squared_error(weight, book) == pytest.approx(best, rel=0.03)


def test_the_means_of_a_mixture_are_a_good_codebook() -> None:
    weight = drawn(20_000)
    for initialization in ("linear", "density"):
        asked = settings(method="mixture", initialization=initialization)
        book = share.codebook(weight, 8, asked, np.random.default_rng(1))
        assert squared_error(weight, book) < 0.1175  # what the best four entries leave


def test_where_the_search_starts() -> None:
    values = np.arange(1, 101, dtype=np.float64) ** 2
    draw = np.random.default_rng(1)

    def start(initialization: str) -> Any:
        return share._start(values, values, 4, settings(initialization=initialization), draw)

    assert start("linear") == pytest.approx(np.linspace(1, 10_000, 4))
    assert np.sqrt(start("density")) == pytest.approx([13.4, 38.1, 62.9, 87.6], abs=0.1)
    assert set(start("random")) <= set(values)


def test_few_different_values_are_kept_as_they_are() -> None:
    weight = np.array([[0, 1, 2, 2], [-3, 0, 1, -0.0]], np.float32)
    book = share.codebook(weight, 8, settings(), np.random.default_rng(1))
    assert np.array_equal(book.entries, [-3, 1, 2])
    assert np.array_equal(book.values(), weight)


def test_a_channel_has_a_codebook_of_its_own() -> None:
    weight = drawn(1200).reshape(3, 2, 5, 40) * np.geomspace(0.01, 10, 40, dtype=np.float32)
    book = share._book(weight, 4, settings(codebooks="channel"), np.random.default_rng(1))
    assert all(len(np.unique(book.values()[..., c])) <= 4 for c in range(40))
    assert squared_error(weight, book) < 0.6 * squared_error(
        weight, share._book(weight, 4, settings(), np.random.default_rng(1))
    )


def test_the_gradient_of_an_entry_is_the_sum_of_its_weights_gradients() -> None:
    tf = backend.tensorflow()
    places = np.array([[0, 1, 2], [2, 2, 0]], np.int32)
    factor = np.array([[9, 1, 2], [4, 8, 9]], np.float32)
    entries = tf.Variable([0.5, -1.5])
    with tf.GradientTape() as tape:
        weight = share._gather(tf, entries, places)
        loss = tf.reduce_sum(weight * factor)
    assert np.array_equal(weight, [[0, 0.5, -1.5], [-1.5, -1.5, 0]])
    assert np.array_equal(tape.gradient(loss, entries), [1, 14])


def test_a_shared_layer_trains_its_entries_as_the_sums_say(data: fitting.TrainingData) -> None:
    """One step of gradient descent, by hand and through the wrapped layers."""
    tf, model = backend.tensorflow(), dense()
    for layer in ("dense1", "dense2"):  # the bias of scores stays at zero and has no entry
        bias = model.get_layer(layer).bias
        bias.assign(drawn(int(bias.shape[0])) / 10)
    books = share.find(model, settings(biases=4), 1, Reporter())
    shared = surgery.rebuild(model, {n: share._shared(model.get_layer(n), books[n]) for n in books})
    for name, of_layer in books.items():
        for attribute, book in of_layer.items():
            getattr(model.get_layer(name), attribute).assign(book.values())
    x, y = data.dataset.x_train, data.dataset.y_train
    assert np.allclose(shared(x), model(x), atol=1e-6)

    def gradients(of: Any) -> Any:
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.keras.losses.sparse_categorical_crossentropy(y, of(x)))
        return {
            v.name: np.asarray(g)
            for v, g in zip(of.trainable_variables, tape.gradient(loss, of.trainable_variables), strict=True)
        }

    plain, sums = gradients(model), gradients(shared)
    assert len(sums) == 5
    for name, of_layer in books.items():
        for attribute, book in of_layer.items():
            if not len(book.entries):
                continue
            each = plain[f"{name}/{attribute}:0"]
            wanted = [each[book.places == k].sum() for k in range(1, len(book.entries) + 1)]
            assert sums[f"{name}/{attribute}:0"] == pytest.approx(wanted, abs=1e-5)


def few(model: Any, entries: int) -> None:
    for name, kernel in zeros.kernels(model).items():
        values = np.unique(kernel)
        assert np.count_nonzero(values) <= entries, name


@pytest.mark.parametrize("build", [cnn, dense])
def test_sharing_leaves_plain_layers_with_few_values_twice_the_same(build: Any, data: fitting.TrainingData) -> None:
    asked = settings(layers={"scores": 3}, biases=2, precision="float16")
    found = []
    for _ in range(2):
        model = build()
        backend.reset(1)
        before = coding.keras_tensors(model)
        found.append(compression.apply(model, data, asked))
    few(found[0], 8)
    first, second = (coding.keras_tensors(model) for model in found)
    assert list(first) == list(before)
    assert all(np.array_equal(first[name], second[name]) for name in first)
    assert np.count_nonzero(np.unique(first["scores/kernel"])) == 3
    assert np.count_nonzero(np.unique(first["scores/bias"])) <= 2
    assert all(np.array_equal(v, v.astype(np.float16)) for n, v in first.items() if n.endswith("kernel"))
    assert all(type(layer).__module__.startswith("tf_keras.") for layer in found[0].layers)


def test_training_the_codebook_makes_the_model_better(data: fitting.TrainingData) -> None:
    model = dense()
    fitting.fit(model, data, settings(epochs=30, learning_rate=1e-2), "float")

    def loss(model: Any) -> float:
        answers = fitting.predict(model, data.dataset.x_train)
        return -float(np.log(answers[np.arange(64), data.dataset.y_train]).mean())

    kept = model.get_weights()
    untrained = loss(compression.apply(model, data, settings(entries=3, epochs=0)))
    model.set_weights(kept)
    trained = loss(compression.apply(model, data, settings(entries=3, epochs=30, learning_rate=3e-3)))
    assert trained < 0.7 * untrained


def test_zeros_of_a_pruned_model_stay_and_its_code_is_small(data: fitting.TrainingData, tmp_path: Path) -> None:
    pruning = Prune.model_validate({"technique": "prune", "epochs": 4, "batch_size": 32, "sparsity": 0.9})
    pruned = compression.apply(dense(), data, pruning)
    before = {name: np.asarray(v) == 0 for name, v in zeros.kernels(pruned).items()}
    shared = compression.apply(pruned, data, settings(biases=4, precision="float16"))
    for name, kernel in zeros.kernels(shared).items():
        assert np.array_equal(np.asarray(kernel) == 0, before[name])
    coded = compression.apply(shared, data, Huffman(technique="huffman"))
    assert backend.scheme(coded).coded
    tensors = coding.keras_tensors(coded)
    assert coding.packed_size(tensors) < coded.count_params() * 4 / 15
    backend.save(coded, tmp_path / "coded.h5")
    loaded = backend.load(tmp_path / "coded.h5")
    assert backend.scheme(loaded).coded
    assert np.array_equal(fitting.predict(loaded, data.dataset.x_test), fitting.predict(shared, data.dataset.x_test))


def test_a_code_that_loses_weights_is_noticed(data: fitting.TrainingData, monkeypatch: pytest.MonkeyPatch) -> None:
    def lossy(packed: bytes) -> Any:
        return {n: t * np.float32(1.001) for n, t in real(packed).items()}

    real = coding.unpack
    monkeypatch.setattr(coding, "unpack", lossy)
    with pytest.raises(RuntimeError, match="the weights of dense1/kernel do not come back"):
        compression.apply(dense(), data, Huffman(technique="huffman"))


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"layers": {"dense9": 4}}, r"compress\.layers of share names 'dense9', .*are dense1, dense2, scores"),
        ({"skip": ["conv"]}, r"compress\.skip of share names 'conv', which the model does not have"),
        ({"skip": ["dense1", "dense2", "scores"]}, "names every layer with weights; leave one out"),
    ],
)
def test_layers_that_cannot_be_meant_are_refused(wrong: Any, words: str, data: fitting.TrainingData) -> None:
    with pytest.raises(UsageError, match=words):
        compression.apply(dense(), data, settings(**wrong))


def test_layers_that_are_skipped_stay(data: fitting.TrainingData) -> None:
    model = dense()
    before = np.asarray(model.get_layer("dense2").kernel)
    shared = compression.apply(model, data, settings(skip=["dense2"], epochs=0))
    assert np.array_equal(shared.get_layer("dense2").kernel, before)
    assert len(np.unique(shared.get_layer("dense1").kernel)) == 8
