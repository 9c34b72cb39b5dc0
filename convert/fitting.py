"""Which boards a model fits, and what would make it fit where it does not: before anything is compiled.

What is known exactly: the arena and the constants of the compiled runtime, from its own memory plan; the limits and
the measured overhead of each environment. TFLite Micro's arena is measured on the host and carries a margin. The code
of the compiled runtime is estimated from its kernels' measured sizes (convert/compiled/code_size.py); that of TFLite
Micro's interpreter and kernels is not counted. convert/build.py checks the linked image again.
"""

import math
from collections.abc import Sequence
from functools import cached_property
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from convert import budget, compiled, energy, golden, latency, plan, project, report, tflm, toolchain, vectors, verified
from convert.binary import source as binary_source
from convert.binary.view import BinaryGraph, net_of
from convert.boards import Board, Environment, Runtime
from convert.compiled import Optimize, Target, code_size
from convert.energy import Energy
from convert.errors import UsageError
from convert.graph import Graph, Tensor
from convert.latency import Latency
from convert.trees.view import TreeGraph, tree_of

Wanted = Literal["auto", "tflm", "compiled"]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class TensorInfo(_Section):
    """A tensor of the model."""

    index: int
    name: str
    shape: tuple[int, ...]
    dtype: str
    bytes: int


class Widest(_Section):
    """The operator during which the most activations are alive, each counted in memory of its own."""

    operator: int
    name: str
    output: tuple[int, ...] | None
    bytes: int


class Part(_Section):
    """What takes a share of a memory."""

    name: str
    bytes: int


class Memory(_Section):
    """A memory of the board and who takes what; bytes."""

    budget: int
    used: int
    excess: int  # above the budget; 0 where it fits
    parts: tuple[Part, ...]


class Case(_Section):
    """One environment with one runtime."""

    environment: str
    runtime: Runtime
    optimize: Optimize
    fits: bool
    refused: str | None = None  # why the runtime does not take the model; the rest is unknown then
    reasons: tuple[str, ...] = ()  # what is exceeded
    arena: int | None = None
    plan: str | None = None  # quality of the compiled runtime's arena
    weights: int | None = None
    code: int | None = None  # an estimate, besides start-up and application; part of `flash` where it is known
    ram: Memory | None = None
    flash: Memory | None = None

    @property
    def excess(self) -> float:
        """Shares of the budgets that are exceeded, for ranking; infinite where the model is refused."""
        if self.ram is None or self.flash is None:
            return math.inf
        return self.ram.excess / self.ram.budget + self.flash.excess / self.flash.budget


class BoardFit(_Section):
    """The verdict for a board: it fits where one of its cases fits."""

    board: str
    name: str
    emulated: bool  # a machine of an emulator, which nobody can hold: it counts only where it was asked for
    fits: bool
    best: int  # of `cases`: the first that fits, or the one that lacks least
    cases: tuple[Case, ...]
    reasons: tuple[str, ...] = ()  # of the best case, where it does not fit
    advice: tuple[str, ...] = ()  # what would help
    measured: verified.Record | None = None  # the last run of this very model on this board
    latency: Latency = Latency()  # from what was measured
    energy: Energy = Energy()

    @property
    def case(self) -> Case:
        """The case that the verdict is about."""
        return self.cases[self.best]


class Fit(_Section):
    """What `convert/fit.py --json` writes."""

    schema_: Literal[1] = Field(1, alias="schema")
    path: str  # of the model, as given
    model: report.Model
    runtime: Wanted
    optimize: Optimize
    asked: tuple[str, ...]  # boards that were asked for; empty: any will do
    fits: bool  # every board that was asked for, or at least one that is not emulated
    biggest_activation: TensorInfo
    biggest_constant: TensorInfo | None
    widest: Widest
    boards: tuple[BoardFit, ...]
    notes: tuple[str, ...] = ()


class Candidate:
    """A model and what each runtime needs for it; nothing is worked out twice."""

    def __init__(self, name: str, graph: Graph, arena: golden.ArenaUse | UsageError | None) -> None:
        """`arena`: what TFLite Micro measured, or why it refuses the model; None for a model that it does not know."""
        self.name = name
        self.graph = graph
        self.measured = arena
        self._images: dict[tuple[Runtime, Target, Optimize, str], project.Image | UsageError] = {}
        self._kernels: dict[tuple[Target, Optimize], tuple[str | None, ...]] = {}

    @cached_property
    def vectors(self) -> vectors.Vectors:
        """The vectors that travel with the firmware of a model from a file: they are computed and take no flash."""
        return vectors.computed(self.graph, 0)

    def runtimes(self, environment: Environment) -> tuple[Runtime, ...]:
        """What can run the model in an environment, the preferred one first; some have C of their own everywhere."""
        if isinstance(self.graph, BinaryGraph):
            return ("binary",)
        return ("tree",) if isinstance(self.graph, TreeGraph) else environment.runtimes

    def image(self, board: Board, runtime: Runtime, optimize: Optimize) -> project.Image:
        """Arena and weights on a board, without the sources. Raises UsageError where the runtime refuses the model."""
        # TFLite Micro has one image for every optimisation; its kernels' scratch memory depends on the core.
        key: tuple[Runtime, Target, Optimize, str] = (runtime, "portable", "speed", "")
        if runtime == "compiled":
            key = (runtime, board.target, optimize, "")
        elif runtime == "binary":
            key = (runtime, board.target, "speed", "")
        elif runtime == "tflm":
            key = (runtime, "portable", "speed", board.build.cpu)
        if key not in self._images:
            try:
                self._images[key] = self._make(*key)
            except UsageError as e:
                self._images[key] = e
        found = self._images[key]
        if isinstance(found, UsageError):
            raise found
        return found

    def code(self, board: Board, runtime: Runtime, optimize: Optimize) -> int | None:
        """Estimated bytes of the code besides start-up and application, None where that is not known."""
        kernels = self._kernels.get((board.target, optimize)) if runtime == "compiled" else None
        if kernels is None:
            return None
        return code_size.estimate(board.build.cpu, board.tinyml.architecture, optimize, kernels)

    def _make(self, runtime: Runtime, target: Target, optimize: Optimize, cpu: str) -> project.Image:
        # No board is built without the reference that its outputs are compared with.
        if isinstance(self.measured, UsageError):
            raise self.measured
        if runtime == "tree":
            tree = tree_of(self.graph)
            return project.Image({}, tree.ram_bytes, tree.constant_bytes)
        if runtime == "binary":
            net = net_of(self.graph)
            return project.Image({}, binary_source.arena(net, target).bytes, net.constant_bytes)
        if runtime == "tflm":
            assert self.measured is not None
            tflm.registrations(self.graph)
            return project.Image({}, tflm.plan_arena(self.graph, self.measured, cpu).bytes, len(self.graph.data))
        model = compiled.compile_model(self.graph, target, optimize)
        self._kernels[target, optimize] = tuple(layer.kernel for layer in model.lowered)
        return project.Image({}, model.arena_bytes, model.weight_bytes, project.plan_of(model))


def environments(board: Board) -> tuple[Environment, ...]:
    """Where the board itself is built for: official and bare, without the emulated twin."""
    return tuple(e for e in board.environments if e != board.tinyml.twin)


def emulated(board: Board) -> bool:
    """Whether the board is only a machine of an emulator: nothing can be flashed."""
    return all(e.framework is None and e.upload is None for e in environments(board))


def _memory(memory: budget.Memory) -> Memory:
    parts = tuple(Part(name=part.name, bytes=part.bytes) for part in memory.parts)
    return Memory(budget=memory.budget, used=memory.used, excess=memory.excess, parts=parts)


def case(candidate: Candidate, board: Board, environment: Environment, runtime: Runtime, optimize: Optimize) -> Case:
    """The verdict for one environment and runtime."""
    try:
        toolchain.check_numbers(board, environment, candidate.graph)
        image = candidate.image(board, runtime, optimize)
        if runtime == "tflm" and environment.framework == "arduino":
            tflm.check_arduino(candidate.graph)
    except UsageError as e:
        return Case(environment=environment.name, runtime=runtime, optimize=optimize, fits=False, refused=str(e))
    manifest = project.build_json(
        board, candidate.name, {environment.name: runtime}, {runtime: image}, candidate.vectors, optimize, None
    )
    code = candidate.code(board, runtime, optimize)
    memories = budget.estimate(board.model_dump(mode="json"), manifest, environment.name, code)
    ram, flash = map(_memory, memories)
    return Case(
        environment=environment.name,
        runtime=runtime,
        optimize=optimize,
        fits=all(m.fits for m in memories),
        reasons=tuple(m.shortage(board.name) for m in memories if not m.fits),
        arena=image.arena,
        plan=None if (quality := image.plan.get("plan")) is None else str(quality),
        weights=image.weights,
        code=code,
        ram=ram,
        flash=flash,
    )


def _best(cases: Sequence[Case]) -> int:
    return min(range(len(cases)), key=lambda k: (not cases[k].fits, 0 if cases[k].fits else cases[k].excess, k))


def _board(candidate: Candidate, board: Board, wanted: Wanted, optimize: Optimize) -> BoardFit | None:
    cases = [
        case(candidate, board, environment, runtime, optimize)
        for environment in environments(board)
        for runtime in candidate.runtimes(environment)
        if wanted in ("auto", runtime)
    ]
    if not cases:
        return None
    best = _best(cases)
    chosen = cases[best]
    reasons = () if chosen.fits else (chosen.refused,) if chosen.refused else chosen.reasons
    return BoardFit(
        board=board.id,
        name=board.name,
        emulated=emulated(board),
        fits=chosen.fits,
        best=best,
        cases=tuple(cases),
        reasons=reasons,
    )


def evaluate(
    candidate: Candidate,
    path: str,
    every: Sequence[Board],
    asked: Sequence[str],
    wanted: Wanted,
    optimize: Optimize,
    records: Sequence[verified.Record] = (),
    notes: Sequence[str] = (),
) -> Fit:
    """The verdict for each board; `asked` are the ones that must fit, none: one must that is not emulated.

    All boards are looked at, so that the others can be named where one does not fit. `records` are earlier runs.
    Raises UsageError where a board that was asked for has no environment with the wanted runtime.
    """
    graph = candidate.graph
    fits = {board.id: _board(candidate, board, wanted, optimize) for board in every}
    for name in asked:
        if fits[name] is None:
            raise UsageError(f"board {name!r} has no environment with the {wanted} runtime; try --runtime auto")
    if not any(fits.values()):
        raise UsageError(f"no board has an environment that runs this model with {wanted}; try --runtime auto")
    taken = [name for name, fit in fits.items() if fit is not None and fit.fits and not fit.emulated]
    shown = [board for board in every if (board.id in asked if asked else fits[board.id] is not None)]
    shown.sort(key=emulated)
    results = []
    for board in shown:
        fit = fits[board.id]
        assert fit is not None
        results.append(_completed(candidate, board, fit, taken, records))
    point = plan.widest_point(graph)
    activations = [graph.tensors[i] for i in graph.lifetimes]
    constants = [t for t in graph.tensors if t.data is not None]
    return Fit(
        path=path,
        model=report.model_of(candidate.name, graph),
        runtime=wanted,
        optimize=optimize,
        asked=tuple(asked),
        fits=all(fit.fits for fit in results) if asked else bool(taken),
        biggest_activation=_tensor(max(activations, key=lambda t: t.nbytes)),
        biggest_constant=_tensor(max(constants, key=lambda t: t.nbytes)) if constants else None,
        widest=Widest(operator=point.operator.index, name=point.operator.name, output=point.output, bytes=point.bytes),
        boards=tuple(results),
        notes=tuple(notes),
    )


def _tensor(tensor: Tensor) -> TensorInfo:
    return TensorInfo(
        index=tensor.index, name=tensor.name, shape=tensor.shape, dtype=tensor.dtype.name, bytes=tensor.nbytes
    )


def _completed(
    candidate: Candidate, board: Board, fit: BoardFit, taken: Sequence[str], records: Sequence[verified.Record]
) -> BoardFit:
    """The verdict with advice where it does not fit, and with what was measured of this very model."""
    more: dict[str, object] = {}
    if not fit.fits:
        others = [name for name in taken if name != board.id]
        more["advice"] = (*_advice(candidate, board, fit.case), _boards(others))
    measured = verified.latest(records, board.id, candidate.graph.sha256)
    if measured is not None:
        counted = measured.instructions if measured.runtime == "compiled" else None
        spent = latency.of(board, counted, measured.cycles)
        more |= {"measured": measured, "latency": spent, "energy": energy.of(board, spent)}
    return fit.model_copy(update=more)


def _boards(others: Sequence[str]) -> str:
    return f"boards that would take it: {', '.join(others)}" if others else "no board here would take it"


def _advice(candidate: Candidate, board: Board, chosen: Case) -> list[str]:
    """What would make a case fit, each with its figure."""
    environment = next(e for e in environments(board) if e.name == chosen.environment)
    ways = []
    if chosen.ram is not None and chosen.ram.excess:
        ways.append(_smaller_arena(candidate, chosen, chosen.ram))
    if chosen.flash is not None and chosen.flash.excess:
        ways.append(_fewer_weights(candidate, chosen, chosen.flash))
    others = [(runtime, chosen.optimize) for runtime in candidate.runtimes(environment) if runtime != chosen.runtime]
    if chosen.runtime == "compiled" and chosen.optimize == "speed":
        others.append(("compiled", "size"))
    for runtime, optimize in others:
        other = case(candidate, board, environment, runtime, optimize)
        text = _instead(chosen, other)
        if text is not None:
            ways.append(text)
    return ways


def _instead(chosen: Case, other: Case) -> str | None:
    """What another runtime or optimisation saves; None where it does not help."""
    option = f"--optimize {other.optimize}" if other.runtime == chosen.runtime else f"--runtime {other.runtime}"
    if other.ram is None or other.flash is None:
        return None
    if chosen.ram is None or chosen.flash is None:
        return f"{option} takes the model" + (" and fits" if other.fits else ", but does not fit either")
    saved = {"RAM": chosen.ram.used - other.ram.used, "flash": chosen.flash.used - other.flash.used}
    if chosen.runtime != other.runtime and chosen.weights is not None and other.weights is not None:
        # The interpreter's code is not known, so that only the model's bytes can be compared.
        saved = {"RAM": saved["RAM"], "constants in flash": chosen.weights - other.weights}
    gains = [f"{saving:,} B of {name}" for name, saving in saved.items() if saving > 0]
    if not gains:
        return None
    lacking = [
        f"{memory.excess:,} B of {name}"
        for name, memory in (("RAM", other.ram), ("flash", other.flash))
        if memory.excess
    ]
    then = f"; {' and '.join(lacking)} are still too much" if lacking else ", and it fits"
    return f"{option} saves {' and '.join(gains)}{then}"


def _smaller_arena(candidate: Candidate, chosen: Case, ram: Memory) -> str:
    assert chosen.arena is not None
    there = chosen.arena - ram.excess
    if there <= 0:
        return f"no smaller model helps here: {_rest(ram, 'arena')} leave no RAM of {ram.budget:,} B"
    text = f"the arena is {chosen.arena:,} B, {ram.excess:,} B too much for the {there:,} B that are left"
    # The interpreter's own data do not shrink with the activations.
    fixed = 0
    if chosen.runtime == "tflm" and isinstance(candidate.measured, golden.ArenaUse):
        fixed = chosen.arena - candidate.measured.head
    share = (there - fixed) / (chosen.arena - fixed)
    if chosen.runtime == "binary":
        return f"{text}: it holds maps of bits and the offsets of a window's set bits, so fewer inputs to a channel"
    if chosen.runtime == "tree":
        return f"{text}: it holds the inputs and the scores, so fewer of these"
    return text if share <= 0 else f"{text}: {_shrink(candidate.graph, share)}"


def _shrink(graph: Graph, share: float) -> str:
    """How large the input, or the layers, may be for activations of this share; it takes them to go with its area."""
    shape = max((graph.tensors[i] for i in graph.inputs), key=lambda t: t.nbytes).shape
    width = f"layers with about {100 * share:.0f} % of their channels at the widest point"
    axes = [k for k, size in enumerate(shape[1:-1] if len(shape) > 2 else (), start=1) if size > 1]
    if not axes:
        return width
    side = share ** (1 / len(axes))
    smaller = [_step_down(int(shape[k] * side)) for k in axes]
    if min(smaller) < 1:
        return width
    before, after = ("x".join(map(str, sizes)) for sizes in ([shape[k] for k in axes], smaller))
    return f"an input of about {after} instead of {before}, if the activations go with it, or {width}"


def _step_down(size: int) -> int:
    """To a multiple of 8 where that loses little: what layers with strides halve without a rest."""
    return size // 8 * 8 if size >= 32 else size


def _fewer_weights(candidate: Candidate, chosen: Case, flash: Memory) -> str:
    assert chosen.weights is not None
    there = chosen.weights - flash.excess
    if there <= 0:
        rest = ", ".join(
            f"{part.name} {part.bytes:,} B" for part in flash.parts if part.name != "weights" and part.bytes
        )
        return f"no smaller model helps here: {rest} leave no flash of {flash.budget:,} B"
    what = "the .tflite" if chosen.runtime == "tflm" else "constants"
    if chosen.runtime == "tree":
        return (
            f"the tree takes {chosen.weights:,} B, {flash.excess:,} B too much for the {there:,} B that are left: less "
            "depth, a smaller projection or more zeros, which are not stored"
        )
    if chosen.runtime == "binary":
        return f"the weights take {chosen.weights:,} B, {flash.excess:,} B too much for the {there:,} B that are left"
    return (
        f"{what} ({candidate.graph.parameters:,} parameters, int8) take {chosen.weights:,} B, {flash.excess:,} B too "
        f"much for the {there:,} B that are left: a model of about {100 * there / chosen.weights:.0f} % of the "
        "parameters. Pruning does not help, zeros are stored like other values"
    )


def _rest(memory: Memory, without: str) -> str:
    """What else takes a memory."""
    return ", ".join(f"{part.name} {part.bytes:,} B" for part in memory.parts if part.name != without and part.bytes)
