"""The generated project: sources of every runtime, test vectors and what PlatformIO's scripts read."""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from types import MappingProxyType

from convert import compiled, compression_report, emit, tflm, tflm_compress, vectors
from convert.binary import source as binary_source
from convert.binary.view import net_of
from convert.boards import OWN_RUNTIMES, Board, Runtime
from convert.compiled import Optimize
from convert.compress import NONE, Compress
from convert.errors import UsageError
from convert.golden import ArenaUse
from convert.graph import Graph
from convert.trees import source as tree_source
from convert.trees.view import tree_of


@dataclass(frozen=True)
class Image:
    """A runtime's generated sources and what they will need on the device, in bytes."""

    files: Mapping[str, str | bytes]
    arena: int
    weights: int
    plan: Mapping[str, int | str] = field(default_factory=dict)  # what is known of the arena's plan, for the report
    compression: compression_report.Compression | None = None
    notes: tuple[str, ...] = ()  # what the user should know of it


def plan_of(model: compiled.CompiledModel) -> dict[str, int | str]:
    """What is known of a compiled model's RAM besides the size of its arena."""
    plan: dict[str, int | str] = {"lower_bound": model.lower_bound, "plan": model.plan.status}
    if model.ram_bytes:
        plan["operands"] = model.ram_bytes
    return plan


def layers_json(model: compiled.CompiledModel) -> str:
    """What each operator became, for the commands that tell of layers."""
    return json.dumps([asdict(layer) for layer in model.layers], indent=1) + "\n"


def _compiled(board: Board, graph: Graph, _: ArenaUse | None, optimize: Optimize, compress: Compress) -> Image:
    model = compiled.compile_model(graph, board.target, optimize, compress)
    files = {**model.render(), "layers.json": layers_json(model)}
    stored = compression_report.of(model, compress)
    return Image(files, model.arena_bytes, model.weight_bytes, plan_of(model), stored)


def _tflm(board: Board, graph: Graph, measured: ArenaUse | None, _optimize: Optimize, compress: Compress) -> Image:
    assert measured is not None
    if compress.mode != NONE.mode:
        made = tflm_compress.for_board(board, graph, measured, compress)
        plan = {"decompression": made.decompression_bytes}
        return Image(made.render(graph), made.arena.bytes, len(made.compressed.data), plan, notes=made.notes)
    arena = tflm.plan_arena(graph, measured, board.build.cpu)
    return Image(tflm.render(graph, arena), arena.bytes, len(graph.data))


def _tree(_board: Board, graph: Graph, _: ArenaUse | None, _optimize: Optimize, _compress: Compress) -> Image:
    tree = tree_of(graph)
    return Image(dict(tree_source.render(tree, graph.sha256)), tree.ram_bytes, tree.constant_bytes)


def _binary(board: Board, graph: Graph, _: ArenaUse | None, _optimize: Optimize, _compress: Compress) -> Image:
    net = net_of(graph)
    files = binary_source.render(net, graph.sha256, board.target)
    return Image(dict(files), binary_source.arena(net, board.target).bytes, net.constant_bytes)


_GENERATORS: Mapping[Runtime, Callable[[Board, Graph, ArenaUse | None, Optimize, Compress], Image]] = {
    "compiled": _compiled,
    "tree": _tree,
    "binary": _binary,
    "tflm": _tflm,
}


def images(
    board: Board,
    graph: Graph,
    measured: ArenaUse | None,
    wanted: str,
    optimize: Optimize,
    refused: Callable[[str], None],
    compress: Compress = NONE,
    tflm_dir: Path | None = None,
    made: Mapping[str, Image] = MappingProxyType({}),
) -> dict[str, Image]:
    """Sources of every runtime that the board's environments offer; of a family with a runtime of its own, that.

    `compress` is for the wanted runtime; the others keep plain weights. Without `tflm_dir`, a source tree, the tflm
    runtime is the Arduino library, which has no compressed weights. `made` are images that are there already.

    Raises UsageError where the wanted runtime refuses the model; another one's refusal is told to `refused`, as are
    notes on the wanted one.
    """
    found = dict(made)
    offered: set[Runtime] = {runtime for environment in board.environments for runtime in environment.runtimes}
    if wanted in OWN_RUNTIMES:
        offered = {name for name in OWN_RUNTIMES if name == wanted}
    for name in sorted(offered - made.keys()):
        try:
            asked = compress if wanted in (name, "auto") else NONE
            stored, notes = (asked, ()) if name != "tflm" or tflm_dir else tflm_compress.on_arduino(asked)
            image = _GENERATORS[name](board, graph, measured, optimize, stored)
            found[name] = replace(image, notes=(*notes, *image.notes))
        except UsageError as e:
            if name == wanted:
                raise
            refused(f"no sources for the {name} runtime: {e}")
    for note in found[wanted].notes if wanted in found else ():
        refused(note)
    return found


def build_json(
    board: Board,
    model: str,
    runtimes: Mapping[str, str],
    found: Mapping[str, Image],
    test: vectors.Vectors,
    optimize: Optimize,
    tflm_dir: Path | None,
) -> dict[str, object]:
    """What PlatformIO's scripts read; `runtimes` is the runtime of each environment."""
    return {
        "schema": 1,
        "board": board.id,
        "model": model,
        "runtimes": dict(runtimes),
        "optimize": optimize,
        "tflm_dir": None if tflm_dir is None else str(tflm_dir.resolve()),
        "memory": {
            name: {"arena": image.arena, "weights": image.weights, **image.plan} for name, image in found.items()
        },
        "vector_bytes": test.stored_bytes,
    }


def write(
    folder: Path,
    graph: Graph,
    test: vectors.Vectors,
    found: Mapping[str, Image],
    manifest: Mapping[str, object],
    features: Mapping[str, str] | None = None,
) -> None:
    """Write the whole project into `folder`; `manifest` is what `build_json` gave, `features` what live.files did."""
    names = {"board": manifest["board"], "model": manifest["model"], "model_sha256": graph.sha256}
    names["operators"] = len(graph.operators)
    names["reset"] = test.apart and graph.has_state
    files: dict[str, str | bytes] = {"common/model_config.h": emit.render("common/model_config.h.j2", names)}
    files |= {f"common/{name}": text for name, text in vectors.render_vectors(graph, test).items()}
    for runtime, image in found.items():
        files |= {f"{runtime}/{name}": content for name, content in image.files.items()}
    files |= {f"features/{name}": text for name, text in (features or {}).items()}
    files["build.json"] = json.dumps(manifest, indent=2) + "\n"
    emit.write_tree(folder, files)
