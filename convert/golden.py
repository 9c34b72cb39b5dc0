"""The golden reference: TFLite Micro on the host, in a subprocess.

TFLite Micro (the tflite-micro wheel) and not tf.lite is the reference, because tf.lite rounds once where TFLite Micro,
and with it the firmware, rounds twice (gemmlowp's fixed-point requantisation). Every tensor can be compared, since the
final outputs saturate too easily to show a difference.
"""

import json
import os
import re
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from numpy.lib.format import open_memmap
from tflite_micro.tensorflow.lite.micro.python.schema_py_generated import BuiltinOperator

from convert import golden_worker
from convert.cache import Cache, code_version, digest
from convert.errors import ToolError, UsageError
from convert.graph import Graph
from convert.paths import ROOT

Array = npt.NDArray[Any]
Progress = Callable[[int, int], None]

# The operator that decodes compressed weights; a custom one, as TFLite Micro has it.
DECODE = "TFLM_DECODE"

_MAX_LAYER_BYTES = 4 << 30
# Starting a process takes about as long as this many inferences of a small model.
_VECTORS_A_PROCESS = 250
_ALLOCATION = re.compile(r"Arena allocation (total|head|tail) (\d+) bytes")
_FAILED_NODE = re.compile(r"Node (\S+) \(number (\d+)\) failed to (prepare|invoke)")
_MISSING_OP = re.compile(r"(?:op code|builtin opcode) '?(\w+)'?")
_BUILTINS = {name for name in vars(BuiltinOperator) if not name.startswith("_")}


@dataclass(frozen=True)
class ArenaUse:
    """The arena in bytes as TFLite Micro measures it on this (64-bit) host.

    `total` is the smallest arena that works here; `head` holds activations and is the same on every target with the
    reference kernels; `tail` holds the interpreter's own structures, which are larger here than on a 32-bit target.
    """

    total: int
    head: int
    tail: int


@dataclass(frozen=True)
class Golden:
    """What TFLite Micro answered to a set of vectors."""

    outputs: npt.NDArray[np.uint8]  # (n, output_bytes)
    layers: Mapping[int, Array] | None  # tensor index -> (n, *shape), for every operator's outputs
    arena: ArenaUse


def run(
    graph: Graph,
    inputs: npt.NDArray[np.uint8],
    *,
    layers: bool = False,
    apart: bool = False,
    decompression: int = 0,
    timeout: float = 120.0,
    progress: Progress | None = None,
) -> Golden:
    """Run vectors through TFLite Micro and measure its arena.

    `inputs` is (n, input_bytes), n >= 1: all inputs of the model end to end, raw bytes, C order. A model
    that keeps a state starts from its first one and carries it from vector to vector; with `apart` each vector starts
    from the first state. With `decompression` the interpreter gets an alternate memory of so many bytes for decoded
    weights (convert/tflm_compress.py), which are then no layers' outputs. `timeout` is the longest time in seconds in
    which not one more vector is finished. `progress(done, total)` is called a few times a second. With `layers`
    the result holds every operator's outputs as well, at the price of a second inference a vector.

    Raises UsageError, with the interpreter's own reason and the operator's name, for a model that TFLite Micro
    refuses; ToolError if it crashes or hangs; ValueError if `inputs` does not have the graph's size.
    """
    _check(graph, inputs)
    request = _request(graph, layers, apart, decompression)
    if sum(array.nbytes for array in _broadcast(request, len(inputs))) > _MAX_LAYER_BYTES:
        raise UsageError(
            f"all layers' outputs of {len(inputs)} vectors take over {_MAX_LAYER_BYTES >> 30} GiB; use fewer vectors"
        )
    jobs = max(1, min(os.cpu_count() or 1, len(inputs) // _VECTORS_A_PROCESS))
    if graph.has_state and not apart:
        jobs = 1
    with tempfile.TemporaryDirectory(prefix="golden-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        (folder / "model.tflite").write_bytes(graph.data)
        (folder / "request.json").write_text(json.dumps(request))
        np.save(folder / "inputs.npy", np.ascontiguousarray(inputs))
        open_memmap(folder / "outputs.npy", "w+", np.uint8, (len(inputs), request["output_bytes"])).flush()
        for index, shape, dtype in request["layers"]:
            open_memmap(folder / f"layer_{index}.npy", "w+", np.dtype(dtype), (len(inputs), *shape)).flush()
        for result in (results := _work(folder, len(inputs), jobs, timeout, progress or _quiet)):
            if result["refused"] is not None:
                raise UsageError(_refusal(graph, result["refused"]))
        kept = {index: np.load(folder / f"layer_{index}.npy") for index, _, _ in request["layers"]}
        return Golden(np.load(folder / "outputs.npy"), kept if layers else None, _arena(results[0]["allocations"]))


def cached(
    graph: Graph, inputs: npt.NDArray[np.uint8], cache: Cache, progress: Progress, *, apart: bool = False
) -> tuple[Golden, bool]:
    """`run` without layers, kept by model, inputs and version; returns (golden, whether it was kept)."""

    def make(folder: Path) -> None:
        made = run(graph, inputs, apart=apart, progress=progress)
        np.save(folder / "outputs.npy", made.outputs)
        (folder / "arena.json").write_text(json.dumps(asdict(made.arena)))

    version = code_version("tflite-micro", sys.modules[__name__], golden_worker)
    folder, kept = cache.get("golden", digest(graph.sha256, inputs.tobytes(), apart and graph.has_state, version), make)
    arena = ArenaUse(**json.loads((folder / "arena.json").read_text()))
    return Golden(np.load(folder / "outputs.npy"), None, arena), kept


def _quiet(done: int, total: int) -> None:
    del done, total


def _check(graph: Graph, inputs: npt.NDArray[np.uint8]) -> None:
    size = sum(graph.tensors[i].nbytes for i in graph.inputs)
    if inputs.dtype != np.uint8 or inputs.ndim != 2 or inputs.shape[1] != size or not len(inputs):
        raise ValueError(
            f"vectors of shape (n >= 1, {size}) and type uint8 expected, got {inputs.shape} {inputs.dtype}"
        )


def _request(graph: Graph, layers: bool, apart: bool, decompression: int) -> dict[str, Any]:
    tensors = graph.tensors
    activations = sum(t.nbytes for t in tensors if t.data is None)
    kept = [op for op in graph.operators if not (decompression and op.name == DECODE)]
    written = [i for op in kept for i in op.outputs if i >= 0 and not tensors[i].is_resource]
    # A reset leaves resource variables without the values that CALL_ONCE gives them.
    again = "remake" if graph.resources else "reset"
    return {
        # Room for everything at once; the worker enlarges it where kernels want more. A multiple of the alignment,
        # so that the measured total does not depend on where the arena ends.
        "arena": (1 << 20) + 2 * (activations + -activations % 4096),
        "inputs": [(tensors[i].shape, tensors[i].dtype.str) for i in graph.inputs],
        "outputs": len(graph.outputs),
        "output_bytes": sum(tensors[i].nbytes for i in graph.outputs),
        "layers": [(i, tensors[i].shape, tensors[i].dtype.str) for i in dict.fromkeys(written if layers else ())],
        "start": again if apart and graph.has_state else "keep",
        "decompression": decompression,
    }


def _broadcast(request: Mapping[str, Any], n: int) -> list[Array]:
    return [np.broadcast_to(np.zeros((), dtype), (n, *shape)) for _, shape, dtype in request["layers"]]


def _work(folder: Path, total: int, count: int, timeout: float, progress: Progress) -> list[dict[str, Any]]:
    """Share the vectors among `count` processes and return what each reports."""
    bounds = [total * job // count for job in range(count + 1)]
    processes: list[subprocess.Popen[bytes]] = []
    try:
        for job in range(count):
            processes.append(_start(folder, job, bounds[job], bounds[job + 1]))
        _follow(processes, total, timeout, progress)
    finally:
        for process in processes:
            process.kill()
            process.wait()
            if process.stdout is not None:
                process.stdout.close()
    results = [_result(folder, job, process.returncode) for job, process in enumerate(processes)]
    progress(total, total)
    return results


def _start(folder: Path, job: int, start: int, stop: int) -> subprocess.Popen[bytes]:
    with (folder / f"{job}.log").open("wb") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "convert.golden_worker", str(folder), str(job), str(start), str(stop)],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
        )


def _follow(processes: list[subprocess.Popen[bytes]], total: int, timeout: float, progress: Progress) -> None:
    """Read the workers' progress until they have closed their outputs and ended."""
    done = 0
    deadline = time.monotonic() + timeout
    with selectors.DefaultSelector() as selector:
        for process in processes:
            selector.register(process.stdout, selectors.EVENT_READ)  # type: ignore[arg-type]
        while selector.get_map():
            ready = selector.select(max(0.0, deadline - time.monotonic()))
            if not ready:
                raise ToolError(
                    f"TFLite Micro finished no vector in {timeout:g} s on the host and was stopped; "
                    "the model may be damaged (an endless loop), or too large for a microcontroller"
                )
            for key, _ in ready:
                # A worker writes whole lines of a few bytes, which a pipe does not tear apart.
                chunk = os.read(key.fd, 4096)
                if not chunk:
                    selector.unregister(key.fileobj)
                    continue
                deadline = time.monotonic() + timeout
                done += sum(int(line) for line in chunk.split())
                progress(done, total)
    for process in processes:
        process.wait(timeout)


def _result(folder: Path, job: int, code: int) -> dict[str, Any]:
    """What a worker that has ended reports."""
    report = folder / f"{job}.json"
    if code == 0 and report.is_file():
        result: dict[str, Any] = json.loads(report.read_text())
        return result
    reason = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
    raise ToolError(
        f"TFLite Micro crashed on the host ({reason}){_tail(folder / f'{job}.log')}; "
        "the model may be damaged: convert it again, or try it with the standard kernels only"
    )


def _tail(log: Path) -> str:
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return f": {lines[-1].strip()}" if lines else ""


def _refusal(graph: Graph, text: str) -> str:
    """Compose the message for a refused model out of the interpreter's text."""
    lines = list(dict.fromkeys(line.strip() for line in text.splitlines() if line.strip()))
    return f"TFLite Micro refuses the model{_culprit(graph, text)}: {'; '.join(lines[-4:])}. {_way_out(text)}"


def _culprit(graph: Graph, text: str) -> str:
    if node := _FAILED_NODE.search(text):
        index = int(node.group(2))
        name = graph.operators[index].name if index < len(graph.operators) else node.group(1)
        return f" at operator {index} ({name})"
    if missing := _MISSING_OP.search(text):
        custom = sorted(set(graph.op_names) - _BUILTINS - {DECODE})
        return f" because of the operator {', '.join(custom) if missing.group(1) == 'CUSTOM' else missing.group(1)}"
    return ""


def _way_out(text: str) -> str:
    if "not supported" in text or "Hybrid" in text:
        return "Convert the model to full-integer int8 (weights and activations)"
    if "op code" in text or "opcode" in text:
        return "Replace the layer by one that TFLite Micro has, or convert without select and custom operators"
    return "Change that layer, or convert the model again with a current TensorFlow"


def _arena(text: str) -> ArenaUse:
    sizes = {name: int(size) for name, size in _ALLOCATION.findall(text)}
    if sizes.keys() != {"total", "head", "tail"}:
        raise ToolError(
            f"the tflite-micro wheel printed no arena sizes but {text.strip()[:200]!r}; "
            "install the version that constraints.txt pins"
        )
    return ArenaUse(**sizes)
