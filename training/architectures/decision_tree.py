"""Decision tree: Breiman, Friedman, Olshen and Stone, "Classification and Regression Trees", 1984; scikit-learn's.

An inner node sends a sample to the left where one feature is at most a threshold; a leaf answers with the shares of the
classes among the training samples that reached it. Trees grow best node first, up to `max_leaves` leaves. With n leaves
there are n - 1 comparisons in all, and at most `max_depth` on a path; nothing is multiplied.

There is no gradient: fitting collects the batches of all epochs, augmented anew in each, and grows the tree once. The
learning rate has no meaning.
"""

from collections.abc import Iterable
from functools import cache
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt

from training import backend
from training.settings.architectures import DecisionTree

TREE = "tree"


def build(settings: DecisionTree, shape: tuple[int, ...], classes: int) -> Any:
    """Layers `features`, `tree`; the tree is one leaf until it is grown."""
    grown, nodes = _classes()
    sample = backend.keras().layers.Input(shape, name="sample")
    x = backend.keras().layers.Flatten(name="features")(sample)
    options = settings.model_dump(exclude={"architecture"})
    return grown(sample, nodes(classes=classes, **options, name=TREE)(x), name="decision_tree")


def custom_layers() -> dict[str, Any]:
    """What Keras needs to load a model of this family."""
    return {made.__name__: made for made in _classes()}


def parameters(model: Any) -> dict[str, npt.NDArray[Any]]:
    """The grown tree: feature, left, right (nodes,) int, threshold (nodes,), share (nodes, classes).

    Node 0 is the root; a leaf is its own left and right child.
    """
    layer = model.get_layer(TREE)
    found = {name: np.asarray(getattr(layer, name)) for name in ("feature", "left", "right", "threshold", "share")}
    used = int(max(found["left"].max(), found["right"].max())) + 1
    whole = {name: found[name][:used].astype(int) for name in ("feature", "left", "right")}
    return {**whole, "threshold": found["threshold"][:used], "share": found["share"][:used]}


def grow(settings: Any, x: npt.NDArray[Any], labels: npt.NDArray[Any], classes: int) -> dict[str, npt.NDArray[Any]]:
    """What `parameters` holds, from samples (n, features) and labels (n,)."""
    from sklearn.tree import DecisionTreeClassifier

    grower = DecisionTreeClassifier(
        criterion=settings.criterion,
        max_depth=settings.max_depth,
        max_leaf_nodes=settings.max_leaves,
        min_samples_leaf=settings.min_samples_leaf,
        random_state=0,  # decides between equal splits
    )
    tree = grower.fit(x, labels).tree_
    own = np.arange(tree.node_count)
    leaf = tree.children_left < 0
    share = np.zeros((tree.node_count, classes))
    share[:, grower.classes_] = tree.value[:, 0]
    return {
        "feature": np.where(leaf, 0, tree.feature),
        "left": np.where(leaf, own, tree.children_left),
        "right": np.where(leaf, own, tree.children_right),
        "threshold": np.where(leaf, 0, tree.threshold),
        "share": share,
    }


@cache
def _classes() -> tuple[Any, Any]:
    """The model, which learns by growing, and its layer: (n, features) to class probabilities (n, classes)."""
    tf, keras = backend.tensorflow(), backend.keras()

    class Nodes(keras.layers.Layer):  # type: ignore[misc,name-defined]
        def __init__(
            self, classes: int, max_leaves: int, max_depth: int, min_samples_leaf: int, criterion: str, **kwargs: Any
        ) -> None:
            super().__init__(**kwargs)
            self.classes, self.max_leaves, self.max_depth = classes, max_leaves, max_depth
            self.min_samples_leaf, self.criterion = min_samples_leaf, criterion

        def get_config(self) -> dict[str, Any]:
            names = ("classes", "max_leaves", "max_depth", "min_samples_leaf", "criterion")
            return {**super().get_config(), **{name: getattr(self, name) for name in names}}

        def build(self, shape: Any) -> None:
            del shape
            nodes = 2 * self.max_leaves - 1

            def weight(name: str, *shape: int) -> Any:
                return self.add_weight(name, shape, initializer="zeros", trainable=False)

            # Indices too: Keras saves them as numbers that float32 holds exactly.
            self.feature, self.left, self.right = (weight(name, nodes) for name in ("feature", "left", "right"))
            self.threshold, self.share = weight("threshold", nodes), weight("share", nodes, self.classes)

        def call(self, x: Any) -> Any:
            feature, left, right = (tf.cast(v, tf.int32) for v in (self.feature, self.left, self.right))
            node = tf.zeros_like(x[:, 0], tf.int32)
            for _ in range(self.max_depth):
                value = tf.gather(x, tf.gather(feature, node), batch_dims=1)
                goes_left = value <= tf.gather(self.threshold, node)
                node = tf.where(goes_left, tf.gather(left, node), tf.gather(right, node))
            return tf.gather(self.share, node)

        def put(self, grown: dict[str, npt.NDArray[Any]]) -> None:
            """Take the arrays of a grown tree."""
            for name, values in grown.items():
                variable = getattr(self, name)
                padded = np.zeros(variable.shape, np.float32)
                padded[: len(values)] = values
                variable.assign(padded)

    class Grown(keras.Model):  # type: ignore[misc,name-defined]
        def fit(
            self, batches: Iterable[Any], epochs: int, steps_per_epoch: int, callbacks: Iterable[Any] = (), **_: Any
        ) -> None:
            """Grow the tree on all batches; callbacks hear of epochs and batches alone."""
            layer, listeners, seen = self.get_layer(TREE), list(callbacks), []
            for number, batch in enumerate(islice(batches, epochs * steps_per_epoch)):
                epoch, step = divmod(number, steps_per_epoch)
                if step == 0:
                    for listener in listeners:
                        listener.on_epoch_begin(epoch)
                seen.append([np.asarray(part) for part in batch])
                for listener in listeners:
                    listener.on_train_batch_end(step)
            x, y = (np.concatenate(parts) for parts in zip(*seen, strict=True))
            layer.put(grow(layer, x.reshape(len(x), -1), y.argmax(1), layer.classes))

    return Grown, Nodes
