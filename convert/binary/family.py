"""Networks of bits as a family of models: their file, their reference, and the runtime of their own."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from convert import cache, judged, vectors
from convert.binary import container, host, net, reference, view
from convert.binary.net import BitConv, ImageConv, Layer, Net, Pool, Scores, Window
from convert.errors import OutputsDifferError, UsageError
from convert.source import Floats


def _version() -> str:
    return cache.code_version("numpy", container, net, reference)


def _image(part: Mapping[str, Any]) -> Layer:
    return ImageConv(part["weights"], part["limits"].astype(np.int32), part["strides"], part["same"])


def _bits(part: Mapping[str, Any]) -> Layer:
    return BitConv(part["weights"], part["limits"].astype(np.int32), part["strides"], part["same"], part["ternary"])


def _pool(part: Mapping[str, Any]) -> Layer:
    return Pool(Window(part["window"], part["strides"], same=False), part["falling"])


def _scores(part: Mapping[str, Any]) -> Layer:
    return Scores(part["weights"], part["factors"].astype(np.int16), part["offsets"].astype(np.int32))


_MAKERS: Mapping[str, Callable[[Mapping[str, Any]], Layer]] = {
    "image": _image,
    "bits": _bits,
    "pool": _pool,
    "scores": _scores,
}


def net_of_parts(parts: Sequence[Mapping[str, Any]]) -> Net:
    """The network that training/binary_deploy.py took apart. Raises UsageError for one that the C cannot run."""
    first, *rest = parts
    shape = tuple(first["shape"])
    if len(shape) != 3:
        raise UsageError(f"a binary network takes images (height, width, channels); this one's inputs are {shape}")
    layers: list[Layer] = []
    for part in rest:
        here = Net(shape, 1.0, 0, tuple(layers)).shapes[-1]
        if part.get("dense"):  # a window of the whole map
            weights = part["weights"].reshape(len(part["weights"]), *here)
            part = {**part, "weights": weights}
        layers.append(_MAKERS[part["kind"]](part))
    return net.check(Net(shape, float(first["scale"]), parts[-1]["exponent"], tuple(layers)))


def from_trained(parts: Sequence[Mapping[str, Any]], x: Floats, scores: Floats) -> bytes:
    """The file of a trained network; `scores` (n, classes) are what the trained model gives for samples x (n, ...).

    Raises UsageError for a network that the C cannot run, and OutputsDifferError where it answers differently.
    """
    found = net_of_parts(parts)
    data = container.pack_net(found)
    g = view.load(data)
    answers = reference.run(found, vectors.quantize_inputs(g, x).view(np.int8)).astype(np.float32)
    different = int((answers * np.float32(2.0**found.exponent) != scores).any(1).sum())
    if different:
        raise OutputsDifferError(f"the packed network answers {different} of {len(x)} samples unlike the trained model")
    return data


BINARY = judged.family(
    "binary network",
    "model.bits",
    view.load,
    view.net_of,
    reference.run,
    lambda found, x: host.run(found, x),
    "The portable C agrees on this machine, so the board's kernels, compiler, port or emulator are at fault.",
    _version,
)
