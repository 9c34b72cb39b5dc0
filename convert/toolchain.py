"""PlatformIO: which environment a board is built with here, and the build itself. The only module that runs it."""

import json
import os
import re
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from convert import compilers, image, tflm_tree
from convert.boards import OWN_RUNTIMES, Board, Environment, Runtime
from convert.errors import DoesNotFitError, ToolError, UsageError, one_of
from convert.graph import Graph
from convert.paths import FIRMWARE, ROOT

# What PlatformIO's registry calls the owner of the official platforms.
_OWNER = "platformio"
_REGISTRY_SECONDS = 3.0
_BUILD_SECONDS = 1800.0
# How firmware/pio/scripts/tinyml.py begins the line of an exceeded budget.
_BUDGET_MARK = "Error: over budget: "
_FAULT = re.compile(r"\berror:|^\w*Error:|undefined reference|multiple definition|^\*\*\*|Exception: ")

Progress = Callable[[str], None]
Wanted = Literal["auto", "tflm", "compiled", "tree", "binary"]


@dataclass(frozen=True)
class Choice:
    """An environment, the runtime in it, and one line that says why."""

    environment: Environment
    runtime: Runtime
    reason: str


@dataclass(frozen=True)
class Firmware:
    """A built image; sizes in bytes."""

    elf: Path
    image: Path  # what is flashed: .bin or .hex
    flash: int
    static_ram: int  # .data and .bss, the arena included
    weights: int  # of flash: the model's constants, as far as they lie in a section of their own
    vectors: int  # of flash: the test vectors, likewise
    seconds: float


# Choosing


def platforms_dir() -> Path:
    """Where PlatformIO keeps the platforms of this project."""
    return Path(os.environ.get("PLATFORMIO_PLATFORMS_DIR") or FIRMWARE / "pio" / "platforms")


def installed(environment: Environment, folder: Path | None = None) -> bool:
    """Whether the environment's platform lies in PlatformIO's folder in the version that is asked for."""
    for path in sorted((folder or platforms_dir()).glob(f"{environment.platform}*/platform.json")):
        try:
            found = json.loads(path.read_text())
        except (OSError, ValueError):
            continue
        if found.get("name") == environment.platform and environment.version in (None, found.get("version")):
            return True
    return False


def registry_endpoints() -> list[str]:
    """The registry's addresses, as PlatformIO itself knows them."""
    from platformio import __registry_mirror_hosts__ as hosts

    return [f"https://api.{host}" for host in hosts]


def registry_has(platform: str, endpoints: Sequence[str] | None = None, seconds: float = _REGISTRY_SECONDS) -> bool:
    """Whether PlatformIO's registry answers within `seconds` that it has a platform; never raises."""
    try:
        addresses = registry_endpoints() if endpoints is None else list(endpoints)
    except ImportError:
        return False
    found = threading.Event()
    waiting = threading.Semaphore(0)

    def ask(address: str) -> None:
        try:
            url = f"{address}/v3/packages/{_OWNER}/platform/{platform}"
            with urllib.request.urlopen(url, timeout=seconds) as answer:
                if json.load(answer).get("name") == platform:
                    found.set()
        except (OSError, ValueError, AttributeError):
            pass
        finally:
            waiting.release()

    # Threads, because resolving a host's name obeys no timeout; they are left behind where they hang.
    for address in addresses:
        threading.Thread(target=ask, args=(address,), daemon=True).start()
    deadline = time.monotonic() + seconds
    for _ in addresses:
        if not waiting.acquire(timeout=max(0.0, deadline - time.monotonic())) or found.is_set():
            break
    return found.is_set()


def _reach(official: Environment) -> tuple[bool, str]:
    """Whether the official environment can be built here, and why."""
    name = f"platform {official.platform}"
    if installed(official):
        return True, f"{name} is installed"
    if registry_has(official.platform):
        return True, f"PlatformIO's registry answers and has {name}"
    return False, f"{name} is not installed and PlatformIO's registry does not answer within {_REGISTRY_SECONDS:.0f} s"


def _chosen(environment: Environment, runtime: Runtime, why: str) -> Choice:
    known = f"; {environment.note}" if environment.note else ""
    return Choice(environment, runtime, f"environment {environment.name} with the {runtime} runtime: {why}{known}")


def _compiler(board: Board, choice: Choice) -> Choice:
    """The choice again; ToolError where it needs a compiler that is missing."""
    lacking = compilers.missing(board.tinyml.architecture) if choice.environment.platform == "bare" else None
    if lacking is not None:
        raise ToolError(f"environment {choice.environment.name} cannot be built: {lacking}")
    return choice


def resolve(board: Board, runtime: Wanted, tflm_dir: Path | None = None, environment: str | None = None) -> Choice:
    """Choose environment and runtime for a board; `environment` names one of the board's.

    auto: the official environment with its first runtime (TFLite Micro) where its platform is installed or
    PlatformIO's registry answers within 3 seconds, else the bare environment with its first runtime (compiled).
    compiled, tree, binary: the bare environment where there is one, for its image runs in an emulator. tflm: the
    official environment, or with `tflm_dir`, a TFLite Micro source tree, the bare one.

    Raises UsageError for a combination that the board does not have, and ToolError where the environment that it
    takes cannot be built here.
    """
    if environment is not None:
        return _compiler(board, _named(board, runtime, tflm_dir, environment))
    if tflm_dir is not None:
        return _compiler(board, _from_tree(board, runtime, tflm_dir))
    bare, official = board.tinyml.bare, board.tinyml.official
    allowed = {name for environment in board.environments for name in environment.runtimes}
    if runtime not in ("auto", *OWN_RUNTIMES) and runtime not in allowed:
        raise UsageError(f"board {board.id} has no {runtime} runtime; allowed are auto, {one_of(sorted(allowed))}")
    if runtime in ("compiled", *OWN_RUNTIMES) and bare is not None and bare.runs(runtime):
        return _compiler(board, _chosen(bare, runtime, "it needs nothing but a compiler"))
    if official is not None:
        return _compiler(board, _official_or_bare(board, official, runtime))
    assert bare is not None
    if runtime == "tflm":
        raise UsageError(
            f"board {board.id} has no environment that brings TFLite Micro; give a source tree with --tflm-dir DIR, "
            "or take --runtime compiled"
        )
    return _compiler(board, _chosen(bare, bare.runtimes[0], "the board's only environment"))


def _named(board: Board, runtime: Wanted, tflm_dir: Path | None, name: str) -> Choice:
    found = next((e for e in board.environments if e.name == name), None)
    if found is None:
        names = one_of([e.name for e in board.environments])
        raise UsageError(f"board {board.id} has no environment {name!r}; allowed are {names}")
    if tflm_dir is not None and runtime == "auto":
        runtime = "tflm"
    taken = found.runtimes[0] if runtime == "auto" else runtime
    if not found.runs(taken):
        raise UsageError(f"environment {name} has no {taken} runtime; allowed are {one_of(list(found.runtimes))}")
    bare = found.platform == "bare"
    if bare and (taken == "tflm") != (tflm_dir is not None):
        raise UsageError(
            f"in environment {name} the tflm runtime is built from a source tree: --runtime tflm and --tflm-dir DIR go "
            "together; or take --runtime compiled"
        )
    if tflm_dir is not None:
        tflm_tree.check_tree(tflm_dir)
    if not bare:
        reachable, why = _reach(found)
        if not reachable:
            raise _unreachable(board, found, why)
    return _chosen(found, taken, "it was asked for")


def _from_tree(board: Board, runtime: Wanted, tflm_dir: Path) -> Choice:
    bare = board.tinyml.bare
    if runtime == "compiled":
        raise UsageError("--tflm-dir goes with --runtime tflm (or auto), not with --runtime compiled; leave one out")
    if bare is None or "tflm" not in bare.runtimes:
        raise UsageError(
            f"board {board.id} has no bare environment to build TFLite Micro's sources in; leave --tflm-dir out"
        )
    tflm_tree.check_tree(tflm_dir)
    return _chosen(bare, "tflm", f"TFLite Micro is built from {tflm_dir}")


def _official_or_bare(board: Board, official: Environment, runtime: Wanted) -> Choice:
    bare = board.tinyml.bare
    reachable, why = _reach(official)
    if reachable:
        return _chosen(official, official.runtimes[0] if runtime == "auto" else runtime, why)
    if runtime == "auto" and bare is not None:
        return _chosen(bare, bare.runtimes[0], why)
    raise _unreachable(board, official, why)


def _unreachable(board: Board, official: Environment, why: str) -> ToolError:
    ways = [f"with a network run: python convert/build.py --board {board.id}, or pio run -e {official.name}"]
    if board.tinyml.bare is not None:
        ways.append("without one take --runtime compiled, or give a TFLite Micro source tree with --tflm-dir DIR")
    return ToolError(
        f"environment {official.name} cannot be built here: {why}. "
        f"The generated project is complete all the same; {'; '.join(ways)}"
    )


def check_numbers(board: Board, environment: Environment, graph: Graph) -> None:
    """UsageError where a model computes with floating point and the environment's compiler has none."""
    if environment.platform != "bare" or compilers.COMPILERS[board.tinyml.architecture].floats:
        return
    used = [*graph.inputs, *graph.outputs, *(i for op in graph.operators for i in (*op.inputs, *op.outputs) if i >= 0)]
    found = next((graph.tensors[i] for i in used if graph.tensors[i].dtype.kind == "f"), None)
    if found is None:
        return
    official = board.tinyml.official
    raise UsageError(
        f"tensor {found.name!r} is {found.dtype.name}, and environment {environment.name} is compiled without floating "
        "point; take a model with integer inputs and outputs"
        + (f", or --environment {official.name}" if official is not None else "")
    )


# Building


def build(
    environment: str,
    output: Path,
    log: Path | None = None,
    progress: Progress | None = None,
    application: str = "golden",
) -> Firmware:
    """Build an application (a folder of firmware/src) for an environment from OUTPUT/generated.

    The golden vectors are built into OUTPUT/pio, another application into OUTPUT/pio-APPLICATION.

    PlatformIO's whole output goes to `log` (default OUTPUT/pio.log), each line also to `progress`. Raises
    DoesNotFitError where the image exceeds the board, and ToolError, with the first errors, where the build fails.
    """
    output = output.resolve()
    log = log or output / "pio.log"
    start = time.monotonic()
    place = output / ("pio" if application == "golden" else f"pio-{application}")
    settings = {
        "PLATFORMIO_BUILD_DIR": str(place),
        "TINYML_OUTPUT": str(output),
        "TINYML_APPLICATION": application,
    }
    status, lines = _platformio(["run", "-e", environment, "-d", str(ROOT)], settings, log, progress)
    if status != 0:
        raise _failure(environment, lines, log)
    folder = place / environment
    elf = folder / "firmware.elf"
    flashed = next((p for p in (folder / "firmware.bin", folder / "firmware.hex") if p.is_file()), None)
    if not elf.is_file() or flashed is None:
        raise ToolError(f"PlatformIO ended well but left no firmware in {folder}; its output is in {log}")
    sizes = image.sizes(elf)
    return Firmware(
        elf, flashed, sizes.flash, sizes.static_ram, sizes.weights, sizes.vectors, round(time.monotonic() - start, 3)
    )


def _platformio(
    arguments: Sequence[str], own: Mapping[str, str], log: Path, progress: Progress | None
) -> tuple[int, list[str]]:
    """Run PlatformIO with environment variables of our own; returns its exit status and lines."""
    settings = {
        **own,
        # Both would ask the network, and wait for it where there is none.
        "PLATFORMIO_DISABLE_UPGRADE_CHECK": "true",
        "PLATFORMIO_SETTING_ENABLE_TELEMETRY": "no",
        "PLATFORMIO_NO_ANSI": "true",
        "PYTHONIOENCODING": "utf-8",
    }
    log.parent.mkdir(parents=True, exist_ok=True)
    lines: list[str] = []
    with (
        log.open("w", encoding="utf-8") as file,
        subprocess.Popen(
            [sys.executable, "-m", "platformio", *arguments],
            cwd=ROOT,
            env={**os.environ, **settings},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            errors="replace",
        ) as process,
    ):
        watchdog = threading.Timer(_BUILD_SECONDS, process.kill)
        watchdog.start()
        try:
            assert process.stdout is not None
            for line in process.stdout:
                file.write(line)
                lines.append(line.rstrip())
                if progress is not None:
                    progress(lines[-1])
        except BaseException:
            process.kill()
            raise
        finally:
            watchdog.cancel()
    return process.returncode, lines


def _failure(environment: str, lines: Sequence[str], log: Path) -> DoesNotFitError | ToolError:
    over = [line[len(_BUDGET_MARK) :] for line in lines if line.startswith(_BUDGET_MARK)]
    if over:
        return DoesNotFitError("\n".join(over))
    faults = [line.strip() for line in lines if _FAULT.search(line)][:3]
    reason = " | ".join(faults) if faults else "it gave no reason"
    return ToolError(f"PlatformIO could not build environment {environment}: {reason}. The whole output is in {log}")
