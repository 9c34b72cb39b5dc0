"""Which ranks layers get when they are taken apart: by the energy that is kept, or within a budget of parameters."""

import heapq
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from convert.errors import UsageError

_ROUNDING = 1e-9  # energies are sums of floating-point squares


@dataclass(frozen=True)
class Option:
    """One choice of a layer's ranks."""

    parameters: int  # weights of all factors, without the bias, which stays
    energy: float  # share of the kernel's squared norm that is kept
    ranks: tuple[int, ...] = ()


def front(options: Sequence[Option], size: int) -> list[Option]:
    """Those options below `size` parameters that keep more energy than every smaller one, by rising size."""
    kept: list[Option] = []
    for option in sorted(options, key=lambda o: (o.parameters, -o.energy)):
        if option.parameters < size and (not kept or option.energy > kept[-1].energy):
            kept.append(option)
    return kept


def by_energy(fronts: Mapping[str, Sequence[Option]], energy: float) -> dict[str, Option]:
    """The smallest option of each layer that keeps the share of energy; layers without one are left out."""
    found = {
        name: next((o for o in options if o.energy >= energy - _ROUNDING), None) for name, options in fronts.items()
    }
    return {name: option for name, option in found.items() if option is not None}


def by_budget(
    fronts: Mapping[str, Sequence[Option]], sizes: Mapping[str, int], total: int, budget: float
) -> dict[str, Option]:
    """Options that keep a model of `total` parameters within the share `budget` of them; whole layers are left out.

    Of all layers, whose kernels have `sizes` weights, the smallest options are taken first; then, as long as there is
    room, the next better one of the layer that gains most log energy a parameter. Logarithms, because what layers in
    a row keep multiplies. On the upper hull of each layer's options that is the best choice but for the last step
    (Dantzig's rule for the multiple-choice knapsack); what room is left then is filled with the best options that fit.
    Raises UsageError where even the smallest options are too many parameters.
    """
    # The whole layer is an option too; front leaves only smaller ones into the list.
    choices = {name: [*options, Option(sizes[name], 1.0)] for name, options in fronts.items()}
    room = math.floor(budget * total) - (total - sum(sizes.values()))
    chosen = {name: options[0] for name, options in choices.items()}
    room -= sum(option.parameters for option in chosen.values())
    if room < 0:
        least = (math.floor(budget * total) - room) / total
        raise UsageError(
            f"low_rank with budget = {budget} cannot be kept: rank 1 everywhere leaves {least:.4f} of the model's "
            f"{total} parameters; give a budget of at least {math.ceil(least * 1000) / 1000}"
        )
    waiting: list[tuple[float, str, Option]] = []
    hulls = {name: iter(_steps(options)) for name, options in choices.items()}

    def wait(name: str) -> None:
        if (step := next(hulls[name], None)) is not None:
            heapq.heappush(waiting, (-step[0], name, step[1]))

    for name in choices:
        wait(name)
    while waiting:
        _, name, option = heapq.heappop(waiting)
        cost = option.parameters - chosen[name].parameters
        if cost <= room:
            chosen[name], room = option, room - cost
            wait(name)
    for name, options in choices.items():
        best = [o for o in options if o.parameters - chosen[name].parameters <= room][-1]
        room -= best.parameters - chosen[name].parameters
        chosen[name] = best
    return {name: option for name, option in chosen.items() if option.ranks}


def _steps(options: Sequence[Option]) -> list[tuple[float, Option]]:
    """From the first option along the upper hull of (parameters, log energy): gain a parameter, and the next option."""
    hull: list[tuple[float, Option]] = [(math.inf, options[0])]
    for option in options[1:]:
        while len(hull) > 1 and _gain(hull[-1][1], option) >= hull[-1][0]:
            hull.pop()
        hull.append((_gain(hull[-1][1], option), option))
    return hull[1:]


def _gain(one: Option, other: Option) -> float:
    # A CP that fits worse than nothing has no energy.
    gain = math.log(max(other.energy, _ROUNDING)) - math.log(max(one.energy, _ROUNDING))
    return gain / (other.parameters - one.parameters)
