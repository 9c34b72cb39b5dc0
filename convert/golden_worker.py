"""The process in which TFLite Micro runs; started by convert.golden, one folder in, the same folder out.

The interpreter reports reasons on file descriptor 2 only and may crash or hang on a damaged model, so it never runs
in the pipeline's own process. The folder holds model.tflite, request.json and inputs.npy; this adds outputs.npy,
layer_<tensor>.npy and result.json. A line on standard output is the number of vectors done.
"""

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.format import open_memmap
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


def _interpreter(model: bytes, arena: int, config: Any, log: _Log) -> Any:
    """Make an interpreter in an arena that grows until it fits."""
    while True:
        log.mark()
        try:
            return runtime.Interpreter.from_bytes(model, arena_size=arena, intrepreter_config=config)
        except RuntimeError as e:
            text = log.text() or str(e)
            if arena >= _MAX_ARENA or not any(words in text for words in _SHORT_OF_MEMORY):
                raise _Refused(text) from e
            arena = min(arena * 4, _MAX_ARENA)


def _invoke(interpreter: Any, arrays: list[Any], log: _Log) -> None:
    log.mark()
    try:
        # Each vector stands alone: variables and recurrent states start as after allocation.
        interpreter.reset()
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


def _run(folder: Path) -> dict[str, Any]:
    request = json.loads((folder / "request.json").read_text())
    model = (folder / "model.tflite").read_bytes()
    inputs = np.load(folder / "inputs.npy", mmap_mode="r")
    log = _Log(folder / "log")
    configs = runtime.InterpreterConfig
    main = _interpreter(model, request["arena"], configs.kAllocationRecording, log)
    keeper = _interpreter(model, request["arena"], configs.kPreserveAllTensors, log) if request["layers"] else None
    outputs = open_memmap(folder / "outputs.npy", "w+", np.uint8, (len(inputs), request["output_bytes"]))
    kept = {
        index: open_memmap(folder / f"layer_{index}.npy", "w+", np.dtype(dtype), (len(inputs), *shape))
        for index, shape, dtype in request["layers"]
    }
    reported = time.monotonic()
    for n, vector in enumerate(inputs):
        arrays = _split(vector, request["inputs"])
        _invoke(main, arrays, log)
        got = [main.get_output(i).tobytes() for i in range(request["outputs"])]
        outputs[n] = np.frombuffer(b"".join(got), np.uint8)
        if keeper is not None:
            _invoke(keeper, arrays, log)
            for index, array in kept.items():
                array[n] = keeper.GetTensor(index, 0)["tensor_data"].reshape(array.shape[1:])
        if time.monotonic() - reported > _REPORT_EVERY_S:
            print(n + 1, flush=True)
            reported = time.monotonic()
    log.mark()
    main.print_allocations()
    return {"refused": None, "allocations": log.text()}


def main() -> None:
    """Run the request in the folder that the command line names."""
    folder = Path(sys.argv[1])
    try:
        result = _run(folder)
    except _Refused as e:
        result = {"refused": str(e), "allocations": ""}
    # Memory-mapped results are whole once the process has ended; the interpreters need not be torn down.
    (folder / "result.json").write_text(json.dumps(result))
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
