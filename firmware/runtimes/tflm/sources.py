"""Builds TFLite Micro from a source tree (--tflm-dir) inside a PlatformIO environment. Standard library only.

The interpreter is compiled for size and the kernels for speed: on a Cortex-M4 that is where the time goes.
"""

import sys
from pathlib import Path

from SCons.Script import Copy

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[2]))

from convert import tflm_tree  # noqa: E402

# Behind everything that the platform gives, so that these count.
COMMON = "-w -ffunction-sections -fdata-sections -fmessage-length=0"
CXX = "-std=gnu++17 -fno-rtti -fno-exceptions -fno-threadsafe-statics -fno-unwind-tables"
C = "-std=gnu11"
INTERPRETER, KERNELS = "-Os", "-O3"

# A check that fails inside the library ends in inference_message(), see tflm_platform.cpp.
LINK = ["-Wl,--wrap=abort"]

# Chirale_TensorFLowLite prints its log on Serial; so linked, the log comes to inference_message().
LINK_CHIRALE = ["-Wl,--wrap=DebugLog"]


def configure(env, tflm_dir, ops=None):
    """Add the library of a TFLite Micro source tree, its headers and defines to a SCons environment.

    Raises convert.errors.UsageError for a tree that cannot be compiled. `ops` are the operators whose kernels are
    compiled; by default those that the generated project names, or all. May run before the platform has set its
    compilers: commands are expanded when they run.
    """
    tree = tflm_tree.scan(Path(tflm_dir), ops or _generated_ops(env))
    # System headers: our sources are compiled with all warnings as errors, the library's headers are not ours.
    env.Append(
        CPPDEFINES=[*tree.defines, ("NDEBUG", 1), ("TINYML_TFLM_FROM_SOURCE", 1)],
        CCFLAGS=[("-isystem", str(folder)) for folder in tree.includes],
        LINKFLAGS=LINK,
    )
    folder = Path("$BUILD_DIR") / "tflite_micro"
    objects = []
    for sources, level in ((tree.core, INTERPRETER), (tree.kernels, KERNELS)):
        header = str(folder / f"precompiled{level}.h")
        cxx = f"{env['CXXCOM']} {COMMON} {CXX} {level}"
        env.Command(header, str(HERE / "precompiled.h"), Copy("$TARGET", "$SOURCE"))
        # g++ makes a precompiled header of a .h file, and takes it for -include where one lies beside that file.
        precompiled = env.Command(f"{header}.gch", header, env.VerboseAction(cxx, "Compiling $TARGET"))
        commands = {"CCCOM": f"{env['CCCOM']} {COMMON} {C} {level}", "CXXCOM": f"{cxx} -include {header}"}
        for source in sources:
            target = folder / source.relative_to(tree.root).with_suffix(".o")
            made = env.Object(str(target), str(source), **commands)
            if source.suffix != ".c":
                env.Depends(made, precompiled)
            objects += made
    library = env.StaticLibrary(str(Path("$BUILD_DIR") / "libtflite_micro.a"), objects)
    env.Append(LIBS=[library])
    return tree


def configure_chirale(env):
    """What the official Arduino environment needs beyond lib_deps."""
    env.Append(LINKFLAGS=LINK_CHIRALE)


def _generated_ops(env):
    project = env.get("TINYML_PROJECT")
    names = project and Path(project.generated) / "tflm" / "operators.txt"
    return names.read_text(encoding="utf-8").split() if names and names.is_file() else None
