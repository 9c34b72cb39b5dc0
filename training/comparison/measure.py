"""What a trained model takes and reaches where it is deployed."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from convert import boards, compiled, executors, fitting, golden, graph, quantize, vectors
from convert import variants as formats
from convert.accuracy import top1
from convert.boards import Board
from convert.cache import Cache, digest, digest_files
from convert.compiled import device, host
from convert.errors import ToolError, UsageError
from convert.graph import Graph
from convert.paths import BOARDS
from training import backend, binary_export, coding
from training.comparison.variants import Run
from training.datasets import Dataset
from training.train import Trained

REPRESENTATIVE = 500  # samples that calibrate the conversion
CHECKED = 64  # test samples on which TFLite Micro must give the compiled runtime's bytes


@dataclass(frozen=True)
class Row:
    """One line of the comparison. None: there is no such figure, `note` says why."""

    variant: str
    group: str
    seed: int
    float_accuracy: float  # of the Keras model after all steps, with the rounding that they simulate
    accuracy: float | None = None  # of what is deployed, on the same test samples
    format: str = ""  # of what is deployed
    executes: str = ""  # what was seen to execute it
    parameters: int | None = None
    nonzeros: int | None = None
    macs: int | None = None
    file_bytes: int | None = None  # of the .tflite
    compressed_bytes: int | None = None  # weights and biases, coded without loss, everything counted
    bits: float | None = None  # compressed bits a weight or bias
    arena: int | None = None
    flash: int | None = None  # of the whole image on the board, without test vectors
    ram: int | None = None
    instructions: int | None = None  # of one inference on a Cortex-M4, counted in an emulator
    cycles: int | None = None  # of the same, estimated
    note: str = ""

    @property
    def reached(self) -> float:
        """Accuracy of what is deployed, or of the Keras model where nothing can be."""
        return self.float_accuracy if self.accuracy is None else self.accuracy

    @property
    def sparsity(self) -> float | None:
        """Share of weights and biases that are zero."""
        return None if not self.parameters or self.nonzeros is None else 1 - self.nonzeros / self.parameters


def row(run: Run, trained: Trained, cache: Cache, board: str, step: Callable[[str], None]) -> Row:
    """Measure a trained model, or read what was measured before; `step` is told what goes on."""

    def make(folder: Path) -> None:
        found = _measure(run, trained, boards.load(board, BOARDS), step)
        (folder / "row.json").write_text(json.dumps(found, indent=2) + "\n")

    key = digest(trained.key, board, _version(), backend.versions())
    folder, _ = cache.get("comparison", key, make)
    found = json.loads((folder / "row.json").read_text())
    return Row(variant=run.name, group=run.group, seed=run.seed, float_accuracy=trained.keras_accuracy, **found)


def _version() -> str:
    modules = (quantize, formats, executors, compiled, device, fitting)
    coder = Path(str(coding.__file__)).parent.glob("*.py")
    return digest_files(
        [Path(__file__), Path(str(binary_export.__file__)), *coder, *(Path(str(module.__file__)) for module in modules)]
    )


def _measure(run: Run, trained: Trained, board: Board, step: Callable[[str], None]) -> dict[str, Any]:
    """The row's figures besides its name."""
    step("loading the model")
    model, data = trained.model(), trained.dataset()
    tensors = coding.keras_tensors(model)
    scheme = backend.scheme(model)
    step(f"converting to {scheme.format}")
    chosen = np.random.default_rng(run.seed).choice(len(data.x_train), min(len(data.x_train), REPRESENTATIVE), False)
    try:
        file = formats.to_tflite(model, data.x_train[chosen], scheme)
    except UsageError as e:
        return _figures(tensors) | {"format": scheme.format, "note": str(e)}
    step("testing what is deployed")
    # tf.lite, which takes seconds to start, is asked for what no firmware executes.
    able = executors.executors(file, ("tflm", "compiled")) or executors.executors(file, ("tf.lite",))
    found: dict[str, Any] = {"format": scheme.format, "file_bytes": len(file), "executes": ", ".join(able)}
    if scheme.format == "float16":  # which no runtime of a microcontroller reads, nor our view of .tflite files
        halves = {name: t.astype(np.float16) for name, t in tensors.items()}
        return found | _figures(halves) | {"accuracy": _predicted(file, data)}
    g = graph.load(file)
    # A codebook is smaller as floating-point centroids than as the int8 weights that become of them.
    found |= _figures(tensors if scheme.coded else _constants(g)) | {"macs": g.macs}
    if any(technique.leaves == "binary" for technique in run.recipe.compress):
        found |= _packed(model, found["parameters"])
    if not {"tflm", "compiled"} <= set(able):
        return found | {"accuracy": _predicted(file, data)}
    return found | {"accuracy": _compiled_accuracy(g, data)} | _on_device(g, board)


def _packed(model: Any, parameters: int) -> dict[str, Any]:
    """Bytes of a binary network as packed bits, thresholds and real-valued layers; its .tflite has a byte a weight."""
    try:
        size = binary_export.export(model).nbytes
    except UsageError as e:
        return {"note": str(e)}
    return {"compressed_bytes": size, "bits": 8 * size / parameters}


def _figures(tensors: dict[str, npt.NDArray[Any]]) -> dict[str, Any]:
    parameters = sum(t.size for t in tensors.values())
    size = coding.packed_size(tensors)
    return {
        "parameters": parameters,
        "nonzeros": sum(int(np.count_nonzero(t)) for t in tensors.values()),
        "compressed_bytes": size,
        "bits": 8 * size / parameters,
    }


def _constants(g: Graph) -> dict[str, npt.NDArray[Any]]:
    """Weights and biases; biases of 64 bits count as 32 where they fit."""
    found = {f"{t.index} {t.name}": t.data for t in g.weights if t.data is not None}
    return {name: t.astype(np.int32) if t.dtype == np.int64 and _fits(t) else t for name, t in found.items()}


def _fits(values: npt.NDArray[Any]) -> bool:
    limits = np.iinfo(np.int32)
    return bool(limits.min <= values.min() and values.max() <= limits.max)


def _predicted(file: bytes, data: Dataset) -> float:
    """Accuracy on all test samples by what executes the file."""
    return float(np.mean(executors.predict(file, data.x_test).argmax(1) == data.y_test))


def _compiled_accuracy(g: Graph, data: Dataset) -> float:
    """The same by the compiled runtime, which is fast, with TFLite Micro as its judge; ToolError where they differ."""
    inputs = vectors.quantize_inputs(g, data.x_test)
    outputs, _ = host.run(compiled.compile_model(g), inputs)
    some = vectors.spread(len(inputs), min(len(inputs), CHECKED))
    if not np.array_equal(golden.run(g, inputs[some], apart=True).outputs, outputs[some]):
        raise ToolError("the compiled runtime and TFLite Micro give different bytes for this model")
    return top1(g, outputs, data.y_test)


def _on_device(g: Graph, board: Board) -> dict[str, Any]:
    """Memory in the compiled runtime on a board, and instructions where its processor is a Cortex-M4."""
    # Without a framework, whose tens of kilobytes hide what the variants save.
    able = [e for e in fitting.environments(board) if "compiled" in e.runtimes]
    environment = min(able, key=lambda e: e.framework is not None)
    case = fitting.case(fitting.Candidate("variant", g, None), board, environment, "compiled", "speed")
    if case.refused is not None or case.ram is None or case.flash is None:
        return {"note": case.refused or ""}
    found = {"arena": case.arena, "flash": case.flash.used, "ram": case.ram.used}
    if board.target == "cortex_m4" and device.available():
        count = device.profile(compiled.compile_model(g, board.target), vectors.computed(g, 0).inputs[0]).total
        found |= {"instructions": count.instructions, "cycles": count.cycles}
    return found
