"""The process in which TFLite Micro runs; started by convert.golden: FOLDER JOB START STOP.

The interpreter reports reasons on file descriptor 2 only and may crash or hang on a damaged model, so it never runs
in the pipeline's own process. The folder holds model.tflite, request.json and inputs.npy, and room for the
answers in outputs.npy and layer_<tensor>.npy; this fills in vectors START to STOP and adds JOB.json. Each line on
standard output is the number of vectors finished since the line before. File descriptor 2 goes to JOB.log.
"""

import json
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from tflite_micro import runtime

_MAX_ARENA = 512 << 20
_REPORT_EVERY_S = 0.2
# What the interpreter prints when the arena is too small, whatever else it prints after that.
_SHORT_OF_MEMORY = ("missing: ", "Failed to allocate", "Failed to resize")


class _Refused(Exception):
    """TFLite Micro refused the model; the text is its own."""


class _Log:
    """What was written to file descriptor 2 since a mark."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._mark = 0

    def mark(self) -> None:
        self._mark = self._path.stat().st_size

    def text(self) -> str:
        return self._path.read_bytes()[self._mark :].decode(errors="replace")


def _interpreter(model: bytes, request: Mapping[str, Any], config: Any, log: _Log) -> Any:
    """Make an interpreter in an arena that grows until it fits."""
    arena, decompression = request["arena"], request["decompression"]
    while True:
        log.mark()
        try:
            return runtime.Interpreter.from_bytes(
                model, arena_size=arena, intrepreter_config=config, alt_decompression_memory_size=decompression
            )
        except RuntimeError as e:
            text = log.text() or str(e)
            if arena >= _MAX_ARENA or not any(words in text for words in _SHORT_OF_MEMORY):
                raise _Refused(text) from e
            arena = min(arena * 4, _MAX_ARENA)


def _invoke(interpreter: Any, arrays: list[Any], log: _Log) -> None:
    log.mark()
    try:
        for index, array in enumerate(arrays):
            interpreter.set_input(array, index)
        interpreter.invoke()
    except RuntimeError as e:
        raise _Refused(log.text() or str(e)) from e


def _split(vector: Any, tensors: list[Any]) -> list[Any]:
    """Cut a vector's bytes into the inputs' arrays."""
    arrays, at = [], 0
    for shape, dtype in tensors:
        size = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
        # A copy, because the interpreter wants the dtype's own alignment.
        arrays.append(np.frombuffer(vector[at : at + size].tobytes(), dtype).reshape(shape))
        at += size
    return arrays


def _run(folder: Path, log: _Log, vectors: range) -> dict[str, Any]:
    request = json.loads((folder / "request.json").read_text())
    model = (folder / "model.tflite").read_bytes()
    inputs = np.load(folder / "inputs.npy", mmap_mode="r")
    outputs = np.load(folder / "outputs.npy", mmap_mode="r+")
    kept = {index: np.load(folder / f"layer_{index}.npy", mmap_mode="r+") for index, _, _ in request["layers"]}
    configs = runtime.InterpreterConfig

    def make() -> tuple[Any, Any]:
        main = _interpreter(model, request, configs.kAllocationRecording, log)
        return main, _interpreter(model, request, configs.kPreserveAllTensors, log) if kept else None

    main, keeper = make()
    reported, at = 0, time.monotonic()
    for done, n in enumerate(vectors, 1):
        arrays = _split(inputs[n], request["inputs"])
        if request["start"] == "reset":
            for interpreter in (main, keeper):
                if interpreter is not None:
                    interpreter.reset()
        elif request["start"] == "remake" and done > 1:
            main, keeper = make()
        _invoke(main, arrays, log)
        got = [main.get_output(i).tobytes() for i in range(request["outputs"])]
        outputs[n] = np.frombuffer(b"".join(got), np.uint8)
        if keeper is not None:
            _invoke(keeper, arrays, log)
            for index, array in kept.items():
                array[n] = keeper.GetTensor(index, 0)["tensor_data"].reshape(array.shape[1:])
        if time.monotonic() - at > _REPORT_EVERY_S:
            print(done - reported, flush=True)
            reported, at = done, time.monotonic()
    log.mark()
    main.print_allocations()
    return {"refused": None, "allocations": log.text()}


def main() -> None:
    """Run the vectors that the command line names."""
    folder, job, start, stop = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    try:
        result = _run(folder, _Log(folder / f"{job}.log"), range(start, stop))
    except _Refused as e:
        result = {"refused": str(e), "allocations": ""}
    (folder / f"{job}.json").write_text(json.dumps(result))
    sys.stdout.flush()
    # The interpreters need not be torn down; what is memory-mapped is whole once the process has ended.
    os._exit(0)


if __name__ == "__main__":
    main()
