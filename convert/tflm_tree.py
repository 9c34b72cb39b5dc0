"""A TFLite Micro source tree: what of it is compiled, and whether it is whole.

Two forms are taken: the tree that upstream's create_tflm_tree.py writes (third_party/ beside tensorflow/), and a
checkout of upstream after its makefile fetched the third-party headers. Standard library only, because the
PlatformIO scripts import this module in a Python that may lack the project's dependencies.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from convert.errors import UsageError

_MICRO = Path("tensorflow/lite/micro")
_KERNELS = _MICRO / "kernels"

# Where third-party code lies in either form of tree, relative to its root; the first one that exists is taken.
_THIRD_PARTY = (Path("third_party"), _MICRO / "tools/make/downloads")

# A file that each third-party library must have, and the folder to include, both relative to the library's own.
_LIBRARIES = {
    "flatbuffers": ("include/flatbuffers/flatbuffers.h", "include"),
    "gemmlowp": ("fixedpoint/fixedpoint.h", "."),
    "ruy": ("ruy/profiler/instrumentation.h", "."),
}

# Folders with the interpreter's own sources; what lies deeper is tools, tests or other targets' kernels.
_CORE_FOLDERS = (
    _MICRO,
    _MICRO / "arena_allocator",
    _MICRO / "memory_planner",
    _MICRO / "tflite_bridge",
    Path("tensorflow/lite/core/api"),
    Path("tensorflow/lite/core/c"),
    Path("tensorflow/lite/kernels"),
    Path("tensorflow/lite/kernels/internal"),
    Path("tensorflow/lite/kernels/internal/reference"),
    Path("tensorflow/lite/schema"),
    Path("tensorflow/compiler/mlir/lite/schema"),
    Path("tensorflow/compiler/mlir/lite/core/api"),
)

# Sources that firmware does not want: log and clock are the runtime's own (platform_bare.cpp), the rest serves
# upstream's tests.
_LEFT_OUT = frozenset(
    {
        "debug_log",
        "fake_micro_context",
        "hexdump",
        "kernel_runner",
        "micro_time",
        "mock_micro_graph",
        "system_setup",
        "test_helper_custom_ops",
        "test_helpers",
    }
)

# Sources that a tree must have to be complete; conv is missing where a tree was made for another kernel set.
_NEEDED = (
    _MICRO / "micro_interpreter",
    _MICRO / "micro_mutable_op_resolver.h",
    _MICRO / "micro_allocator",
    Path("tensorflow/lite/schema/schema_generated.h"),
)

_HOW_TO_MAKE = (
    "make a tree in a checkout of github.com/tensorflow/tflite-micro with "
    "`python3 tensorflow/lite/micro/tools/project_generation/create_tflm_tree.py TREE "
    '--makefile_options="TARGET=cortex_m_generic TARGET_ARCH=project_generation OPTIMIZED_KERNEL_DIR=cmsis_nn"` '
    "and give it as --tflm-dir TREE"
)
_HOW_TO_FETCH = (
    "fetch it in that checkout with "
    "`make -f tensorflow/lite/micro/tools/make/Makefile TARGET=cortex_m_generic TARGET_ARCH=cortex-m4+fp "
    "OPTIMIZED_KERNEL_DIR=cmsis_nn third_party_downloads`"
)


@dataclass(frozen=True)
class Tree:
    """What a build takes from a source tree; all paths are absolute.

    `core` is the interpreter (built for size), `kernels` the operators with CMSIS-NN where the tree has it (built
    for speed). `defines` must be the same wherever a header of the library is included.
    """

    root: Path
    core: tuple[Path, ...]
    kernels: tuple[Path, ...]
    includes: tuple[Path, ...]
    defines: tuple[tuple[str, str | int], ...]
    cmsis_nn: bool


def check_tree(path: Path) -> None:
    """Raise UsageError unless `path` is a TFLite Micro source tree that can be compiled.

    The message names what is missing and the command that makes or fetches it.
    """
    root = Path(path)
    if not (root / _MICRO).is_dir():
        raise UsageError(
            f"--tflm-dir {path}: not a TFLite Micro source tree, {_MICRO.as_posix()}/ is missing; {_HOW_TO_MAKE}"
        )
    for needed in _NEEDED:
        found = (root / needed).is_file() if needed.suffix else _source(root / needed) is not None
        if not found:
            raise UsageError(
                f"--tflm-dir {path}: {needed.as_posix()} is missing, the tree is not whole; {_HOW_TO_MAKE}"
            )
    for name, (header, _) in _LIBRARIES.items():
        if _library(root, name) is None:
            places = " or ".join(f"{place.as_posix()}/{name}/{header}" for place in _THIRD_PARTY)
            raise UsageError(f"--tflm-dir {path}: {name} is missing ({places}); {_HOW_TO_FETCH}")
    if _source(root / _KERNELS / "conv") is None and not _has_cmsis_nn(root):
        raise UsageError(
            f"--tflm-dir {path}: neither reference nor CMSIS-NN kernels are whole (no {_KERNELS.as_posix()}/conv.cc, "
            f"and not all of {_KERNELS.as_posix()}/cmsis_nn, third_party/cmsis_nn and "
            "third_party/cmsis/CMSIS/Core/Include with its m-profile folder, which create_tflm_tree.py leaves out: "
            f"copy it); {_HOW_TO_MAKE}"
        )


def scan(path: Path, ops: Collection[str] | None = None) -> Tree:
    """Select sources, include folders and defines of a tree; raises what check_tree raises.

    With `ops` (BuiltinOperator names) only these operators' kernels are taken, which halves the compile time; an
    operator outside the list is then an undefined symbol at link time.
    """
    check_tree(path)
    root = Path(path).resolve()
    core = [source for folder in _CORE_FOLDERS for source in _sources(root / folder)]
    kernels = {source.stem: source for source in _sources(root / _KERNELS)}
    includes = [root]
    for name, (header, folder) in _LIBRARIES.items():
        library = _library(root, name)
        assert library is not None, header
        includes.append(library / folder)
    includes += [place for place in (root / p for p in _THIRD_PARTY) if place.is_dir()]
    defines: list[tuple[str, str | int]] = [("TF_LITE_STATIC_MEMORY", 1)]
    third_party: list[Path] = []
    cmsis_nn = _has_cmsis_nn(root)
    if cmsis_nn:
        library, core_headers = _cmsis(root)
        # A specialised kernel replaces the reference one of the same name, as upstream's makefile does.
        kernels.update({source.stem: source for source in _sources(root / _KERNELS / "cmsis_nn")})
        third_party = [s for s in sorted((library / "Source").rglob("*.c")) if not s.stem.endswith(_FLOAT_ENDINGS)]
        includes += [library, library / "Include", core_headers]
        defines += [("CMSIS_NN", 1), ("ARM_NN_ENABLE_F16", 0), ("ARM_NN_ENABLE_F32", 0)]
    wanted = [kernels[name] for name in sorted(kernels)]
    if ops is not None:
        wanted = [source for source in wanted if _serves(source, ops)]
    if ops is not None and _DECODE in ops:
        core += _decoder(root)
    return Tree(
        root,
        tuple(core),
        (*wanted, *third_party),
        tuple(dict.fromkeys(folder.resolve() for folder in includes)),
        tuple(defines),
        cmsis_nn,
    )


# CMSIS-NN's floating-point functions need CMSIS-DSP headers and serve no int8 model.
_FLOAT_ENDINGS = ("_f16", "_f32", "_flt")


# Kernel sources that only serve operators outside the op table: custom operators and compressed tensors.
_CUSTOM = re.compile(r"(circular_buffer|decode|decompress|detection_postprocess|ethosu)(_.*)?")

# Of these, what serves the operator TFLM_DECODE, which needs no define (USE_TFLM_COMPRESSION is for another form of
# compressed tensors). Not decode_state.cc, which would link the decoders of all forms: firmware/runtimes/tflm has the
# like for the forms that a model has.
_DECODE = "TFLM_DECODE"
_DECODER = re.compile(r"decode|decode_state_.*")

# A definition such as `TFLMRegistration Register_CONV_2D_INT8() {`.
_REGISTRATION = re.compile(r"^TFLMRegistration\*? (?:\w+::)*Register_(\w+)\(\)\s*\{", re.MULTILINE)


def _serves(source: Path, ops: Collection[str]) -> bool:
    """Whether a kernel source defines one of the operators, or none at all (helpers that several share)."""
    defined = _REGISTRATION.findall(source.read_text(encoding="utf-8", errors="replace"))
    names = {re.sub(r"(_INT(4|8|16|8REF))+$", "", name) for name in defined}
    return not names or not names.isdisjoint(ops)


def _decoder(root: Path) -> list[Path]:
    """The sources of the operator that decodes compressed weights; UsageError for a tree that is older than it."""
    found = [s for s in sorted((root / _KERNELS).glob("decode*.c*")) if _DECODER.fullmatch(s.stem) and not _is_test(s)]
    if "decode" not in [source.stem for source in found]:
        raise UsageError(
            f"--tflm-dir {root}: {_KERNELS.as_posix()}/decode.cc is missing, the tree is older than the decoder of "
            "compressed weights; take a tree of 2026, or --compress none"
        )
    return found


def _source(stem: Path) -> Path | None:
    """The C++ source of that name; create_tflm_tree.py --rename_cc_to_cpp writes .cpp."""
    for suffix in (".cc", ".cpp"):
        if (found := stem.with_name(stem.name + suffix)).is_file():
            return found
    return None


def _sources(folder: Path) -> list[Path]:
    """C and C++ sources directly in a folder, sorted, without tests and what firmware replaces."""
    return [
        path
        for path in sorted(folder.glob("*.c*"))
        if path.suffix in (".c", ".cc", ".cpp")
        and path.stem not in _LEFT_OUT
        and not _CUSTOM.fullmatch(path.stem)
        and not _is_test(path)
    ]


def _is_test(path: Path) -> bool:
    return "test" in path.stem.split("_")


def _library(root: Path, name: str) -> Path | None:
    header, _ = _LIBRARIES[name]
    for place in _THIRD_PARTY:
        if (root / place / name / header).is_file():
            return root / place / name
    return None


def _cmsis(root: Path) -> tuple[Path, Path]:
    """CMSIS-NN's folder and CMSIS core's headers; FileNotFoundError where one is missing."""
    for place in _THIRD_PARTY:
        library = root / place / "cmsis_nn"
        headers = root / place / "cmsis/CMSIS/Core/Include"
        whole = (library / "Include/arm_nnfunctions.h").is_file() and (library / "Source").is_dir()
        if whole and _core_headers_whole(headers):
            return library, headers
    raise FileNotFoundError("cmsis_nn")


def _core_headers_whole(headers: Path) -> bool:
    """Whether CMSIS core's headers are all there: those of CMSIS 6 include some in m-profile/."""
    compiler = headers / "cmsis_gcc.h"
    if not compiler.is_file():
        return False
    split = "m-profile/cmsis_gcc_m.h" in compiler.read_text(encoding="utf-8", errors="replace")
    return not split or (headers / "m-profile/cmsis_gcc_m.h").is_file()


def _has_cmsis_nn(root: Path) -> bool:
    if _source(root / _KERNELS / "cmsis_nn/conv") is None:
        return False
    try:
        _cmsis(root)
    except FileNotFoundError:
        return False
    return True
