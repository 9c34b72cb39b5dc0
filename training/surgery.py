"""Taking Keras models apart and putting them together again: layers replaced, widened, merged or left out.

Works on Functional and Sequential models of plain layers, with branches and layers of several inputs; a layer that is
called twice is replaced in both places.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from training import backend

Weights = Sequence[Any]  # arrays, in Keras' order for the layer
Replacement = Callable[..., Any]  # a layer, or a function of the layer's input tensors that calls layers


def copy(layer: Any, weights: Weights | None = None, **changes: Any) -> Any:
    """An unbuilt copy of a layer with some entries of its configuration changed, e.g. `filters=8`.

    With `weights` it gets them as soon as it is called for the first time.
    """
    made = type(layer).from_config({**layer.get_config(), **changes})
    return made if weights is None else with_weights(made, weights)


def with_weights(layer: Any, weights: Weights) -> Any:
    """An unbuilt layer that will start from the given weights."""
    build = layer.build

    def build_and_set(shape: Any) -> None:
        build(shape)
        layer.build = build  # before the weights: Keras looks at it when the model is saved
        layer.set_weights(weights)

    layer.build = build_and_set
    return layer


def skip(tensor: Any) -> Any:
    """The replacement that leaves a layer of one input out."""
    return tensor


def rebuild(model: Any, replacements: Mapping[str, Replacement]) -> Any:
    """A new model of the same graph; `replacements` holds what stands for a layer, by the layer's name.

    All other layers are copied with their weights. The given model is left as it is. Raises ValueError for a name that
    the model does not have.
    """
    keras = backend.keras()
    names = {layer.name for layer in model.layers}
    if unknown := sorted(set(replacements) - names):
        raise ValueError(f"the model has no layers {', '.join(unknown)}; it has {', '.join(sorted(names))}")
    made: dict[str, Replacement] = dict(replacements)
    inputs = [keras.layers.Input(t.shape[1:], dtype=t.dtype, name=t.node.layer.name) for t in model.inputs]
    tensors: dict[str, list[Any]] = {}

    def put(key: str, tensor: Any) -> None:
        tensors[key] = [tensor] * max(1, model._tensor_usage_count[key])

    for old, new in zip(model.inputs, inputs, strict=True):
        put(str(id(old)), new)
    for depth in sorted(model._nodes_by_depth, reverse=True):
        for node in model._nodes_by_depth[depth]:
            if node.is_input:
                continue
            layer = node.layer
            if layer.name not in made:
                made[layer.name] = copy(layer, layer.get_weights())
            arguments, named = node.map_arguments(tensors)
            outputs = made[layer.name](*arguments, **_known(made[layer.name], named))
            for key, tensor in zip(node.flat_output_ids, backend.tensorflow().nest.flatten(outputs), strict=True):
                put(key, tensor)
    outputs = [tensors[str(id(t))][0] for t in model.outputs]
    new = keras.Model(inputs, outputs[0] if len(outputs) == 1 else outputs, name=model.name)
    return backend.with_scheme(new, backend.scheme(model))


def _known(replacement: Replacement, named: Mapping[str, Any]) -> dict[str, Any]:
    """Keyword arguments of the call, such as `training`, for a layer; a function gets tensors alone."""
    return dict(named) if isinstance(replacement, backend.keras().layers.Layer) else {}
