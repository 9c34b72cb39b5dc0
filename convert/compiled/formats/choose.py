"""Which format each layer's weights get: the least flash under a bound on the inference's instructions.

Both are exact: bytes of the packed streams, their tables and the code that decodes them, shared code counted once;
instructions as `counting` finds them. The choice is one integer program, solved by CP-SAT of OR-tools to its proven
optimum.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from convert.compiled import cortex_m4, device, placement
from convert.compiled.formats import counting
from convert.compiled.formats.catalogue import DENSE, FORMATS, LEAN, Option, as_kernel, is_coded, lean, options, stored
from convert.compiled.formats.counting import Counted
from convert.compiled.formats.depthwise import COMPACT, compact
from convert.compiled.formats.figures import Figures, LayerChoice
from convert.compiled.layer import Layer
from convert.compiled.model import CompiledModel, Target
from convert.compress import Compress
from convert.errors import ToolError, UsageError, one_of

_NAMES = (LEAN, COMPACT, *FORMATS)
_TIE = 1 << 24  # instructions only decide between equal bytes


@dataclass(frozen=True)
class Choice:
    """The layers, in the order of the graph's, and what was decided for those that had a choice."""

    layers: tuple[Layer, ...]
    decided: tuple[LayerChoice, ...]
    code: int | None  # bytes of the code that decodes; None: not counted here


def check(mode: str) -> None:
    """Raise UsageError for a mode that there is not."""
    allowed = ["auto", "none", *_NAMES]
    if mode not in allowed:
        raise UsageError(f"--compress {mode}: the compiled runtime has {one_of(allowed)}")


def choose(compiled: CompiledModel, lowered: Sequence[Layer], compress: Compress) -> Choice:
    """Formats for a model that was compiled with dense weights; `lowered` are its operators' portable layers.

    Raises UsageError for an unknown mode, and where `auto` finds nothing within its bound; ToolError where `auto`
    lacks the cross compiler, the emulator or the solver.
    """
    check(compress.mode)
    auto = compress.mode == "auto"
    if auto and not placement.solver_present():
        raise ToolError(
            "--compress auto needs OR-tools, which has no wheel for this version of Python; take Python 3.11 or a "
            "format by its name"
        )
    portable = {layer.op.index: layer for layer in lowered}
    names = _NAMES if auto else (compress.mode,)
    found = [_options(layer, portable[layer.op.index], compiled.target, names) for layer in compiled.lowered]
    if auto:
        counts = counting.count(compiled, [[option.layer for option in given] for given in found])
        return _choice(compiled, found, counts, _solved(compiled, found, counts, compress.max_instructions))
    ways = [
        [option for option in given if stored(option.layer) < stored(layer)]
        for given, layer in zip(found, compiled.lowered, strict=True)
    ]
    taken = [1 if given else 0 for given in ways]
    return _choice(compiled, ways, _counted(compiled, ways), taken)


def _options(dense: Layer, portable: Layer, target: Target, names: Collection[str]) -> list[Option]:
    """What a layer may take, of `names`: what the processor's own kernels have to offer for less flash, and formats."""
    own: list[Option] = []
    if target == "cortex_m4" and portable.kernel is not None:
        own = [*lean(dense, cortex_m4.candidates(portable)), *compact(dense, portable)]
    return [option for option in own if option.format in names] + options(portable, wide=_wide(target), names=names)


def pin(
    layers: Sequence[Layer], lowered: Sequence[Layer], pinned: Mapping[int, str | None], target: Target
) -> tuple[Layer, ...]:
    """The layers in the formats of the pinned kernels, by operator, wherever their weights can be stored so."""

    def one(layer: Layer, portable: Layer) -> Layer:
        kernel = pinned.get(layer.op.index)
        if kernel is None or kernel == layer.kernel:
            return layer
        given = compact(layer, portable) if target == "cortex_m4" else []
        found = [option.layer for option in given if option.layer.kernel == kernel]
        return (found or [as_kernel(portable, kernel, wide=_wide(target)) or layer])[0]

    return tuple(one(layer, portable) for layer, portable in zip(layers, lowered, strict=True))


def _wide(target: Target) -> bool:
    """Whether tiles hold int16."""
    return target == "cortex_m4"


def _counted(compiled: CompiledModel, found: Sequence[Sequence[Option]]) -> list[list[Counted]] | None:
    """Counts for a report, where they can be had."""
    if not device.available():
        return None
    return counting.count(compiled, [[option.layer for option in given] for given in found])


def _choice(
    compiled: CompiledModel,
    found: Sequence[Sequence[Option]],
    counts: Sequence[Sequence[Counted]] | None,
    taken: Sequence[int],
) -> Choice:
    layers, decided = [], []
    code: dict[str, int] = {}
    for k, (layer, given, way) in enumerate(zip(compiled.lowered, found, taken, strict=True)):
        known = counts[k] if counts is not None else [None] * (1 + len(given))
        figures = [
            Figures(name, stored(other), None if count is None else count.instructions)
            for name, other, count in zip(
                [DENSE, *(option.format for option in given)],
                [layer, *(option.layer for option in given)],
                known,
                strict=True,
            )
        ]
        layers.append(given[way - 1].layer if way else layer)
        chosen = known[way]
        if is_coded(layers[-1]) and chosen is not None:
            code |= chosen.code
        if given:
            decided.append(
                LayerChoice(layer.op.index, layer.op.name, figures[way].format, figures[0], tuple(figures[1:]))
            )
    return Choice(tuple(layers), tuple(decided), sum(code.values()) if counts is not None else None)


def _solved(
    compiled: CompiledModel,
    found: Sequence[Sequence[Option]],
    counts: Sequence[Sequence[Counted]],
    bound: float,
) -> list[int]:
    """The number of the way that each layer takes, 0 the dense one."""
    from ortools.sat.python import cp_model

    model = cp_model.CpModel()
    functions: dict[str, Any] = {}
    sizes: Mapping[str, int] = {
        name: size for given in counts for counted in given for name, size in counted.code.items()
    }
    cost: Any = 0
    instructions: Any = 0
    ways = []
    for layer, given, counted in zip(compiled.lowered, found, counts, strict=True):
        picks = [model.NewBoolVar("") for _ in counted]
        model.AddExactlyOne(picks)
        ways.append(picks)
        for pick, way, count in zip(picks, [layer, *(option.layer for option in given)], counted, strict=True):
            cost += pick * (stored(way) * _TIE + count.instructions)
            instructions += pick * count.instructions
            for name in count.code:
                used = functions.setdefault(name, model.NewBoolVar(""))
                model.AddImplication(pick, used)
    cost += sum(used * sizes[name] * _TIE for name, used in functions.items())
    dense = sum(counted[0].instructions for counted in counts)
    model.Add(instructions <= int(dense * bound))
    model.Minimize(cost)
    solver = cp_model.CpSolver()
    solver.parameters.num_workers = 1
    solver.parameters.random_seed = 0
    if solver.Solve(model) != cp_model.OPTIMAL:
        least = sum(min(count.instructions for count in counted) for counted in counts)
        raise UsageError(
            f"--max-instructions {bound:g} allows {int(dense * bound):,} instructions an inference and the fastest way "
            f"to store the weights takes {least:,}; allow at least {least / dense:.2f}"
        )
    return [next(k for k, pick in enumerate(picks) if solver.Value(pick)) for picks in ways]
