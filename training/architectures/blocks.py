"""What the scaled-down image families share beside parts.py."""

from typing import Any

from convert.errors import UsageError
from training import backend


def filters(count: int, width: float, multiple: int = 1) -> int:
    """`count * width`, rounded to the nearest multiple, and at least one of it."""
    return max(multiple, multiple * round(count * width / multiple))


def require_image(architecture: str, shape: tuple[int, ...], halvings: int, way_out: str) -> None:
    """Raises UsageError for samples that are no pictures, or so small that nothing is left to halve."""
    given, side = "x".join(str(n) for n in shape), 2**halvings
    if len(shape) != 3:
        raise UsageError(
            f"architecture {architecture} takes pictures of height x width x channels; samples are {given}"
        )
    if min(shape[:2]) < side:
        raise UsageError(
            f"architecture {architecture} halves the picture {halvings} times and needs at least {side}x{side} pixels; "
            f"the data set has {shape[0]}x{shape[1]}; {way_out}"
        )


def linear(x: Any, layer: Any, name: str) -> Any:
    """A convolution without bias and batch normalisation, without an activation; conversion folds the two into one."""
    return backend.keras().layers.BatchNormalization(name=f"{name}_norm")(layer(x))


def every(x: Any, groups: int, which: int, name: str) -> Any:
    """Channels which, which + groups, which + 2 * groups, ... of feature maps: one strided slice.

    Written as reshape, crop, reshape, since quantisation-aware training knows these layers and no slicing.
    """
    layers = backend.keras().layers
    height, width, channels = x.shape[1:]
    x = layers.Reshape((height * width, channels // groups, groups), name=f"{name}_groups")(x)
    # "channels_first" makes Keras crop the last two axes.
    crop = layers.Cropping2D(((0, 0), (which, groups - 1 - which)), "channels_first", name=f"{name}_slice")
    return layers.Reshape((height, width, channels // groups), name=name)(crop(x))


def consecutive(x: Any, groups: int, which: int, name: str) -> Any:
    """Group `which` of the channels of feature maps, cut into groups of neighbours: one slice."""
    size = x.shape[-1] // groups
    crop = ((0, 0), (which * size, (groups - 1 - which) * size))
    # "channels_first" makes Keras crop the last two axes.
    return backend.keras().layers.Cropping2D(crop, "channels_first", name=name)(x)
