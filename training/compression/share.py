"""Weight sharing: the weights of a layer take one of a few values, its codebook, and then the codebook is trained.

Han, Mao and Dally, "Deep Compression: Compressing Deep Neural Networks with Pruning, Trained Quantization and Huffman
Coding", 2016: one-dimensional k-means, started from entries that are equally spaced between the smallest and the
largest weight (linear), equally spaced in the cumulative distribution (density), or drawn from the weights (random; the
paper's Forgy). Which entry a weight has is then fixed; the gradient of an entry is the sum of its weights' gradients.
Mixtures of Gaussians instead of k-means after Nowlan and Hinton, "Simplifying Neural Networks by Soft Weight-Sharing",
1992: fitted to the trained weights, the components' means are the entries. Both are scikit-learn's. Weights that are
zero stay zero and have no entry.
"""

import warnings
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from convert.errors import UsageError
from training import backend, surgery
from training.compression import zeros
from training.fitting import TrainingData, fit
from training.progress import Reporter
from training.settings.sharing import Share

Floats = npt.NDArray[np.float32]
Places = npt.NDArray[np.int32]

ROUNDS = 100  # of k-means or of expectation and maximisation


@dataclass(frozen=True)
class Book:
    """A weight as a codebook and where each of its values stands in it; 0 is zero, k is entry k - 1."""

    entries: Floats  # (n,)
    places: Places  # in the weight's shape

    def values(self) -> Floats:
        """The weight."""
        return np.concatenate([np.zeros(1, np.float32), self.entries])[self.places]


def apply(model: Any, data: TrainingData, settings: Share) -> Any:
    """`model` with shared weights; raises UsageError where the settings name layers that it does not have."""
    books = find(model, settings, data.seed, data.reporter)
    if settings.epochs:
        trainable = surgery.rebuild(model, {name: _shared(model.get_layer(name), books[name]) for name in books})
        fit(trainable, data, settings, "share", settings.distillation)
        books = {name: trainable.get_layer(name).books() for name in books}
        model = surgery.rebuild(trainable, {name: trainable.get_layer(name).plain() for name in books})
    for name, layer_books in books.items():
        for attribute, book in layer_books.items():
            getattr(model.get_layer(name), attribute).assign(_rounded(book, settings).values())
    return model


def find(model: Any, settings: Share, seed: int, reporter: Reporter) -> dict[str, dict[str, Book]]:
    """The codebooks by layer and then by the layer's attribute (`kernel`, `bias`), before they are trained."""
    layers = {layer.name: layer for layer in model.layers if zeros.kernel(layer) is not None}
    for key, named in (("layers", settings.layers), ("skip", settings.skip)):
        if unknown := sorted(set(named) - set(layers)):
            raise UsageError(
                f"compress.{key} of share names {', '.join(map(repr, unknown))}, which the model does not have; "
                f"layers with weights are {', '.join(layers)}"
            )
    chosen = [name for name in layers if name not in settings.skip]
    if not chosen:
        raise UsageError("compress.skip of share names every layer with weights; leave one out of the list")
    found: dict[str, dict[str, Book]] = {}
    with reporter.task("sharing weights", len(chosen)) as update:
        for number, name in enumerate(chosen, 1):
            layer = layers[name]
            draw = np.random.default_rng([seed, zlib.crc32(name.encode())])
            kernel = "depthwise_kernel" if hasattr(layer, "depthwise_kernel") else "kernel"
            entries = settings.layers.get(name, settings.entries)
            found[name] = {kernel: _book(np.asarray(getattr(layer, kernel)), entries, settings, draw)}
            if settings.biases and layer.use_bias:
                plain = settings.model_copy(update={"codebooks": "layer"})
                found[name]["bias"] = _book(np.asarray(layer.bias), settings.biases, plain, draw)
            update(number, name)
    return found


def _book(weight: Floats, entries: int, settings: Share, draw: np.random.Generator) -> Book:
    """Codebook of one weight, or the codebooks of its output channels (the last axis) one after the other."""
    if settings.codebooks == "layer" or weight.ndim < 2:
        return codebook(weight, entries, settings, draw)
    flat = weight.reshape(-1, weight.shape[-1])
    books = [codebook(channel, entries, settings, draw) for channel in flat.T]
    starts = np.cumsum([0, *(len(book.entries) for book in books[:-1])])
    places = [np.where(b.places, b.places + start, 0) for b, start in zip(books, starts, strict=True)]
    stacked = np.stack(places, axis=1).astype(np.int32).reshape(weight.shape)
    return Book(np.concatenate([book.entries for book in books]), stacked)


def codebook(weight: Floats, entries: int, settings: Share, draw: np.random.Generator) -> Book:
    """At most so many entries for the values of a weight that are not zero, in increasing order."""
    values = weight[weight != 0].astype(np.float64)
    distinct = np.unique(values)
    places = np.zeros(weight.shape, np.int32)
    if len(distinct) <= entries:
        places[weight != 0] = np.searchsorted(distinct, values) + 1
        return Book(distinct.astype(np.float32), places)
    start = _start(values, distinct, entries, settings, draw)
    state = int(draw.integers(2**31))
    search = _mixture if settings.method == "mixture" else _k_means
    # One thread: several add their sums in the order in which they finish.
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        labels = search(values.reshape(-1, 1), start.reshape(-1, 1), state)
    # The mean of its weights is the best value of an entry; one that nobody took disappears.
    counts = np.bincount(labels, minlength=entries)
    means = np.bincount(labels, values, entries)[counts > 0] / counts[counts > 0]
    order = np.argsort(means, kind="stable")
    ranks = np.zeros(entries, np.int32)
    ranks[np.flatnonzero(counts)[order]] = np.arange(len(order))
    places[weight != 0] = ranks[labels] + 1
    return Book(means[order].astype(np.float32), places)


def _start(
    values: npt.NDArray[np.float64],
    distinct: npt.NDArray[np.float64],
    entries: int,
    settings: Share,
    draw: np.random.Generator,
) -> npt.NDArray[np.float64]:
    """Where the search starts: (entries,)."""
    if settings.initialization == "linear":
        return np.linspace(values.min(), values.max(), entries)
    if settings.initialization == "random":
        return np.sort(draw.choice(distinct, entries, replace=False))
    return np.quantile(values, (np.arange(entries) + 0.5) / entries)


def _k_means(values: Any, start: Any, state: int) -> Any:
    return KMeans(len(start), init=start, n_init=1, max_iter=ROUNDS, random_state=state).fit_predict(values)


def _mixture(values: Any, start: Any, state: int) -> Any:
    # Every component starts as wide as the distance between two entries of an even codebook.
    precisions = np.full(len(start), (len(start) / np.ptp(values)) ** 2)
    mixture = GaussianMixture(
        len(start),
        covariance_type="spherical",
        means_init=start,
        weights_init=np.full(len(start), 1 / len(start)),
        precisions_init=precisions,
        reg_covar=1e-4 / precisions[0],
        init_params="random_from_data",
        max_iter=ROUNDS,
        random_state=state,
    )
    means = np.sort(mixture.fit(values).means_.ravel())
    # The nearest mean, not the likeliest component: a wide one would take the tails as well.
    return np.searchsorted((means[1:] + means[:-1]) / 2, values.ravel())


def _rounded(book: Book, settings: Share) -> Book:
    if settings.precision == "float32":
        return book
    return Book(book.entries.astype(np.float16).astype(np.float32), book.places)


def _shared(layer: Any, books: Mapping[str, Book]) -> Any:
    """A layer that answers as `layer` does with the codebooks' weights, and trains the entries."""
    tf, keras = backend.tensorflow(), backend.keras()
    inner = surgery.copy(layer, layer.get_weights())
    own: list[Any] = []  # the layer's own variables, in its order

    class Shared(keras.layers.Layer):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:
            super().__init__(name=layer.name)
            self.inner = inner
            self.entries: dict[str, Any] = {}

        def build(self, shape: Any) -> None:
            inner.build(shape)
            own.extend(inner.weights)
            for attribute, book in books.items():
                variable = getattr(inner, attribute)
                inner._trainable_weights.remove(variable)
                if not len(book.entries):  # all zeros: there is nothing to train
                    continue
                initial = keras.initializers.Constant(book.entries)
                self.entries[attribute] = self.add_weight(attribute, book.entries.shape, initializer=initial)
            super().build(shape)

        def call(self, x: Any) -> Any:
            kept = {attribute: getattr(inner, attribute) for attribute in self.entries}
            # Past Keras' own way of setting attributes, which would count the variables as trainable again.
            vars(inner).update({a: _gather(tf, entries, books[a].places) for a, entries in self.entries.items()})
            try:
                return inner.call(x)
            finally:
                vars(inner).update(kept)

        def books(self) -> dict[str, Book]:
            trained = {a: Book(np.asarray(e), books[a].places) for a, e in self.entries.items()}
            return {**books, **trained}

        def plain(self) -> Any:
            return surgery.copy(layer, [np.asarray(variable) for variable in own])

    return Shared()


def _gather(tf: Any, entries: Any, places: Places) -> Any:
    """The weight, (shape of places); its gradient is summed over each entry's weights."""
    used = np.flatnonzero(places)
    order = used[np.argsort(places.ravel()[used], kind="stable")]  # weights by entry
    segments, count = places.ravel()[order] - 1, entries.shape[0]

    @tf.custom_gradient  # type: ignore[untyped-decorator]
    def look_up(values: Any) -> Any:
        def back(upstream: Any) -> Any:
            gradients = tf.gather(tf.reshape(upstream, [-1]), order)
            return tf.math.unsorted_segment_sum(gradients, segments, count)

        return tf.gather(tf.concat([[0.0], values], 0), places), back

    return look_up(tf.convert_to_tensor(entries))
