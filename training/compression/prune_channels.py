"""Structured pruning: whole filters and units go, with everything that belongs to them, and what is left is trained.

Mittal, Bhardwaj, Khapra and Ravindran, "Recovering from Random Pruning: On the Plasticity of Deep Convolutional Neural
Networks", WACV 2018: the same share of each layer goes, lowest scores first, all layers at once. A convolution of
k x k from c_in to c_out channels that keep shares s_in and s_out holds s_in * s_out of its weights and takes as much of
its multiply-accumulates; a depthwise one s_in.
"""

import difflib
from collections.abc import Sequence
from typing import Any

import numpy as np

from convert.errors import UsageError
from training import channels
from training.channels import Group
from training.compression import channel_criteria
from training.fitting import TrainingData, fit
from training.settings.channels import PruneChannels


def apply(model: Any, data: TrainingData, settings: PruneChannels) -> Any:
    """A smaller model: `settings.share` of the channels of each layer gone, then trained on.

    Raises UsageError where a layer is not known, cannot be handled, or no channel would go.
    """
    found = channels.trace(model)
    groups = _with_shares(model, found, settings)
    scores = channel_criteria.scores(model, found, [group for group, _ in groups], data, settings)
    gone: list[int] = []
    for (group, share), values in zip(groups, scores, strict=True):
        count = min(round(share * len(group.units)), len(group.units) - 1)
        gone += group.units[np.argsort(values, kind="stable")[:count]].tolist()
    if not gone:
        sizes = ", ".join(f"{len(group.units)} in {' and '.join(group.layers)}" for group, _ in groups)
        raise UsageError(f"prune_channels with share = {settings.share} removes none of {sizes}; raise the share")
    smaller = channels.without(model, found, gone)
    if settings.epochs:
        fit(smaller, data, settings, "prune_channels", settings.distillation)
    return smaller


def _with_shares(model: Any, found: channels.Channels, settings: PruneChannels) -> list[tuple[Group, float]]:
    """The groups that lose channels, and their shares."""
    groups = found.groups()
    free = list(dict.fromkeys(name for group in groups for name in group.layers))
    for key, names in (("skip", found.makers), ("layers", free)):
        for name in sorted(set(getattr(settings, key)) - set(names)):
            near = difflib.get_close_matches(name, names, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise UsageError(
                f"compress.{key} names {name!r}, which makes no channels that could go; layers that do are "
                f"{', '.join(names)}{hint}"
            )
    dense = {layer.name for layer in model.layers if type(layer).__name__ == "Dense"}
    chosen = []
    for group in groups:
        share = _share(group, settings)
        if share and not set(group.layers) & set(settings.skip) and (settings.dense or not set(group.layers) <= dense):
            chosen.append((group, share))
    if not chosen:
        way_out = "take some out of skip, or set dense = true" if free else "take another technique"
        held = f" ({', '.join(found.rigid)} need theirs in fixed numbers)" if found.rigid else ""
        raise UsageError(
            f"prune_channels finds no layer that may lose channels; those that could are {', '.join(free) or 'none'}"
            f"{held}; {way_out}"
        )
    return chosen


def _share(group: Group, settings: PruneChannels) -> float:
    own: Sequence[float] = sorted({settings.layers[name] for name in group.layers if name in settings.layers})
    if len(own) > 1:
        raise UsageError(
            f"compress.layers gives {', '.join(group.layers)} the shares {', '.join(map(str, own))}; their channels "
            "are tied, so give one of them or the same share"
        )
    return own[0] if own else settings.share
