"""Build a compiled model for this machine and run it: for tests, and to find the layer where outputs differ."""

import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from convert import emit
from convert.cache import Cache, digest, digest_files
from convert.compiled import poison
from convert.compiled.layer import Array
from convert.compiled.model import CompiledModel
from convert.errors import ToolError
from convert.paths import FIRMWARE

Bytes = npt.NDArray[np.uint8]

KERNELS = FIRMWARE / "lib" / "kernels"
RUNTIME = FIRMWARE / "runtimes" / "compiled"
WARNINGS = ("-Wall", "-Wextra", "-Werror", "-Wpedantic", "-Wconversion", "-Wsign-conversion")
SANITIZERS = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-g")


def compiler() -> str:
    """Path of the host's C compiler.

    Raises ToolError if there is none.
    """
    for name in ("gcc", "cc", "clang"):
        if found := shutil.which(name):
            return found
    raise ToolError("no C compiler (gcc, cc or clang) in PATH; install one: apt-get install gcc")


def call(command: list[str], what: str) -> None:
    """Run a tool; raises ToolError with its messages if it fails."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ToolError(f"{what} failed with exit code {done.returncode}: {' '.join(command)}\n{done.stderr[-4000:]}")


def kernels(tool: str, flags: list[str], sources: list[Path]) -> list[Path]:
    """Objects of the kernel library's `sources`, compiled once for each set of flags."""
    others = sorted({*KERNELS.rglob("*.h"), *KERNELS.rglob("*.inc")})

    def build(folder: Path) -> None:
        for source in sources:
            # The folder's name, too: a kernel's variants may share its file's name.
            target = folder / f"{source.parent.name}_{source.name}.o"
            call([tool, *flags, "-c", str(source), "-o", str(target)], f"compiling {source.name}")

    version = subprocess.run([tool, "--version"], capture_output=True, text=True, check=False).stdout
    key = digest(digest_files([*sources, *others]), tool, version, flags)
    folder, _ = Cache().get("kernel-objects", key, build)
    return sorted(folder.glob("*.o"))


def build(compiled: CompiledModel, folder: Path, *, layers: bool = False, sanitize: bool = False) -> Path:
    """Build the program that runs the model on vectors from standard input; return its path in `folder`.

    `sanitize` adds the address and undefined-behaviour sanitizers. Raises ToolError if the compiler is missing or
    fails.
    """
    own_files = {"host_main.c": emit.render("compiled/host_main.c.j2", {}), "poison.h": poison.render(compiled)}
    emit.write_tree(folder / "src", {**compiled.render(), **own_files})
    flags = ["-std=c99", "-O2", *WARNINGS, *(SANITIZERS if sanitize else ()), "-I", str(KERNELS / "include")]
    objects = kernels(compiler(), flags, sorted((KERNELS / "src").glob("*.c")))
    program = folder / "model"
    # Optimising pages of constants takes time and gives nothing.
    own = [*flags, "-O1", "-I", str(folder / "src"), "-I", str(FIRMWARE / "include")]
    own += ["-DINFERENCE_TRACE"] if layers else []
    sources = [folder / "src" / "compiled_model.c", folder / "src" / "host_main.c", RUNTIME / "inference.c"]
    call(
        [compiler(), *own, *map(str, sources), *map(str, objects), "-o", str(program)],
        "compiling the model for this machine",
    )
    return program


def run(
    compiled: CompiledModel, inputs: Bytes, *, layers: bool = False, sanitize: bool = False, timeout: float = 600.0
) -> tuple[Bytes, Mapping[int, Array] | None]:
    """Run vectors (uint8, (n, input bytes)) through the compiled model on this machine.

    Returns the outputs, uint8 (n, output bytes), and with `layers` every operator's outputs by tensor index,
    (n, *shape) in the tensor's type. Raises ToolError if the compiler is missing or the program fails; ValueError for
    vectors of the wrong size.
    """
    check_vectors(compiled, inputs)
    with tempfile.TemporaryDirectory(prefix="compiled-model-") as folder:
        program = build(compiled, Path(folder), layers=layers, sanitize=sanitize)
        try:
            done = subprocess.run(
                [str(program)], input=inputs.tobytes(), capture_output=True, timeout=timeout, check=False
            )
        except subprocess.TimeoutExpired as e:
            raise ToolError(f"the compiled model did not end within {timeout:g} s on this machine") from e
    if done.returncode:
        reason = done.stderr.decode(errors="replace")[-4000:]
        raise ToolError(f"the compiled model failed with exit code {done.returncode} on this machine: {reason}")
    return split(compiled, np.frombuffer(done.stdout, np.uint8), len(inputs), layers)


def scores(
    program: Path, x: npt.NDArray[np.int8], classes: int, what: str, timeout: float = 600.0
) -> npt.NDArray[np.int32]:
    """Scores int32 (n, classes) that a program on this machine writes for samples int8 (n, features) on its input.

    `what` names the model. Raises ToolError if the program fails.
    """
    done = subprocess.run([str(program)], input=x.tobytes(), capture_output=True, timeout=timeout, check=False)
    if done.returncode or len(done.stdout) != 4 * classes * len(x):
        reason = done.stderr.decode(errors="replace")[-4000:]
        raise ToolError(f"{what} failed with exit code {done.returncode} on this machine: {reason}")
    return np.frombuffer(done.stdout, "<i4").reshape(len(x), classes)


def check_vectors(compiled: CompiledModel, inputs: Bytes) -> None:
    """Raise ValueError for vectors of the wrong type or size."""
    size = sum(compiled.graph.tensors[i].nbytes for i in compiled.graph.inputs)
    if inputs.dtype != np.uint8 or inputs.ndim != 2 or inputs.shape[1] != size:
        raise ValueError(f"inputs are {inputs.dtype} {inputs.shape}; expected uint8 (n, {size})")


def split(compiled: CompiledModel, raw: Bytes, n: int, layers: bool) -> tuple[Bytes, Mapping[int, Array] | None]:
    """What a program wrote for n vectors: outputs (n, bytes) and, with `layers`, the traces by tensor."""
    tensors = compiled.graph.tensors
    traced = [tensors[i] for layer in compiled.lowered for i in layer.outputs] if layers else []
    written = [t.nbytes for t in traced] + [sum(tensors[i].nbytes for i in compiled.graph.outputs)]
    if raw.size != n * sum(written):
        raise ToolError(f"the compiled model wrote {raw.size} bytes where {n} x {sum(written)} are expected")
    parts = np.split(raw.reshape(n, sum(written)), np.cumsum(written)[:-1], axis=1)
    by_tensor = {
        t.index: np.ascontiguousarray(part).view(t.dtype).reshape(n, *t.shape)
        for t, part in zip(traced, parts, strict=False)
    }
    return np.ascontiguousarray(parts[-1]), by_tensor if layers else None
