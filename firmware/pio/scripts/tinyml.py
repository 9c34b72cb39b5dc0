"""Before every build: find what was generated, check the budgets, name the sources.

One script for all environments. It runs before the platform's own build script, when compilers and flags are not set
yet, so it only names sources and flags; SCons expands them when it compiles.
"""

import sys
from pathlib import Path

Import("env")  # noqa: F821

ROOT = Path(env.subst("$PROJECT_DIR")).resolve()  # noqa: F821
sys.path[:0] = [str(ROOT), str(ROOT / "firmware" / "pio" / "scripts")]

from project import BUDGET_MARK, SLOTS, Project, ProjectError  # noqa: E402

from convert import budget, compilers  # noqa: E402
from convert.errors import PipelineError  # noqa: E402

WARNINGS = ("-Wall", "-Wextra", "-Werror")


def fail(env, *lines):
    """End the build with lines for the user."""
    for line in lines:
        sys.stderr.write(f"{line}\n")
    sys.stderr.flush()
    env.Exit(1)


def add_sources(env, project):
    """Name every source folder; the model is compiled as asked for, our C on bare metal without warnings."""
    level = compilers.LEVELS[project.build["optimize"]]
    strict = " ".join(WARNINGS) if project.entry["platform"] == "bare" else ""
    # GCC has had the option that covers macros too since version 8; the Nano 33 BLE's and the Uno's platforms have 7.
    old = project.entry["platform"] != "bare" or project.board["tinyml"]["architecture"] == "avr"
    prefix_map = "fdebug-prefix-map" if old else "ffile-prefix-map"
    env.Append(
        CPPPATH=[str(folder) for folder in project.include_folders()],
        CCFLAGS=[
            f"-{prefix_map}={project.output}=.",
            f"-{prefix_map}={ROOT}=.",
        ],
    )
    env.Replace(SRC_FILTER=[f"+<{project.application}/>"])
    if project.application == "profile":
        env.Append(CPPDEFINES=["INFERENCE_TRACE"])
    # The last option counts, and the platform adds its own: ours are put behind the whole command.
    commands = {
        name: {tool: f"{env[tool]} {options}" for tool in ("CCCOM", "CXXCOM")}
        for name, options in (("size", strict), ("model", f"{strict} {level}"))
    }
    fast_folders = [str(folder) for folder, fast in project.source_folders() if fast]
    ours = [str(folder) for folder, _ in project.source_folders()] + [env.subst("$PROJECT_SRC_DIR")]

    def options(env, node):
        path = node.srcnode().get_abspath()
        if not any(path.startswith(f"{folder}/") for folder in ours):
            return node
        kind = "model" if any(path.startswith(f"{folder}/") for folder in fast_folders) else "size"
        return env.Object(node, **commands[kind])

    env.AddBuildMiddleware(options)
    for folder, _ in project.source_folders():
        name = folder.relative_to(ROOT) if ROOT in folder.parents else folder.name
        if project.output in folder.parents:
            name = folder.relative_to(project.output)
        env.BuildSources(str(Path("$BUILD_DIR") / name), str(folder))


def add_slots(env, project):
    """Place the slots of weights that lie apart; an image that reaches into them is found after linking."""
    if not project.split:
        return
    env.Append(
        CPPDEFINES=["TINYML_SPLIT_WEIGHTS"],
        LINKFLAGS=[
            # PlatformIO leaves its own linker script out where it sees -T.
            f"-Wl,--script={SLOTS / 'slots.ld'}",
            f"-Wl,--defsym=__slots_origin={project.split['slots_origin']:#x}",
            f"-Wl,--defsym=__slots_bytes={2 * project.split['slot_bytes']:#x}",
            "-Wl,--no-check-sections",
        ],
    )


def add_runtime_library(env, project):
    """Let the tflm runtime prepare the environment: from a source tree on bare metal, else from lib_deps."""
    official = project.entry["platform"] != "bare"
    if official:
        # Where PlatformIO installs lib_deps; only the sources of src_dir would find it unasked.
        env.Append(CPPPATH=["$PROJECT_LIBDEPS_DIR/$PIOENV/Chirale_TensorFLowLite/src"])
    if project.runtime != "tflm":
        return
    sys.path.insert(0, str(ROOT / "firmware" / "runtimes" / "tflm"))
    import sources

    if official:
        sources.configure_chirale(env)
    elif project.tflm_dir is None:
        fail(
            env,
            f"Error: environment {project.environment} builds the tflm runtime from a TFLite Micro source tree; run: "
            f"python convert/build.py --board {project.name} --runtime tflm --tflm-dir DIR",
        )
    else:
        sources.configure(env, project.tflm_dir)


def add_sensor_library(env, project):
    """Let live_motion have the library of nano33's IMU, and the core's I2C; other applications build neither."""
    if project.environment != "nano33":
        return
    rev2 = "LIVE_SENSE_REV2" in str(env.get("BUILD_FLAGS", ""))
    libraries = {"Arduino_BMI270_BMM150", "Arduino_LSM9DS1"}
    if project.application == "live_motion":
        wanted = "Arduino_BMI270_BMM150" if rev2 else "Arduino_LSM9DS1"
        libraries.remove(wanted)
        env.Append(CPPPATH=[f"$PROJECT_LIBDEPS_DIR/$PIOENV/{wanted}/src"])
        # Wire belongs to the core and has no manifest that lib_deps could name without asking the registry.
        platform, core = env.PioPlatform(), "framework-arduino-mbed"
        core = platform.get_package_dir(core) if core in platform.packages else None
        if core:
            wire = str(Path(core) / "libraries" / "Wire")
            env.Append(CPPPATH=[wire])
            env.BuildSources(str(Path("$BUILD_DIR") / "Wire"), wire)
    env.GetProjectConfig().set(f"env:{project.environment}", "lib_ignore", sorted(libraries))


def main(env):
    """Prepare the build."""
    env.Replace(PROGNAME="firmware")
    if env.IsCleanTarget():
        return
    environment = env["PIOENV"]
    try:
        project = Project(environment, env.GetProjectConfig().get("platformio", "boards_dir"))
    except ProjectError as e:
        fail(env, f"Error: {e}")
    messages = budget.before_build(project.board, project.build, environment)
    if messages:
        fail(env, *(f"{BUDGET_MARK}{message}" for message in messages))
    env["TINYML_PROJECT"] = project
    add_sources(env, project)
    add_slots(env, project)
    add_sensor_library(env, project)
    try:
        add_runtime_library(env, project)
    except PipelineError as e:
        fail(env, f"Error: {e}")
    elf = "$BUILD_DIR/${PROGNAME}.elf"
    env.AddCustomTarget(
        name="smoke",
        dependencies=elf,
        actions=[
            f'"$PYTHONEXE" "{ROOT / "convert" / "smoke.py"}" --output "{project.output}" '
            f'--environment {environment} --image "{elf}"'
        ],
        title="Smoke test",
        description="Run the firmware in an emulator and compare its outputs with the golden reference",
    )


main(env)  # noqa: F821
