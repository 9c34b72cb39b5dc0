"""Builds a bare-metal image: flags and linker script from the board's JSON, compilers from the PATH."""

import sys
from pathlib import Path

from SCons.Script import Alias, AlwaysBuild, Default, DefaultEnvironment

from convert import compilers, uf2

sys.path.insert(0, str(Path(DefaultEnvironment()["BUILD_SCRIPT"]).parent))

import architectures

env = DefaultEnvironment()
project = env["TINYML_PROJECT"]
board = env.BoardConfig()
section = project.board["tinyml"]
PORTS = Path(env.subst("$PROJECT_DIR")) / "firmware" / "ports"


def fail(message):
    """End the build with one line."""
    sys.stderr.write(f"Error: {message}\n")
    sys.stderr.flush()
    env.Exit(1)


lacking = compilers.missing(section["architecture"])
if lacking:
    fail(lacking)
arch = architectures.of(section["architecture"], board.get("build.cpu"), section["fpu"])
compiler = compilers.COMPILERS[section["architecture"]]
prefix = compiler.prefix
# A port's own linker script wins over the architecture's; without either the compiler's own stands.
scripts = [PORTS / folder / "link.ld" for folder in (project.entry["port"], compiler.shared) if folder]
script = next((path for path in scripts if path.is_file()), None)
placement = {
    "__flash_origin": project.entry.get("flash_origin"),
    "__flash_size": board.get("upload.maximum_size"),
    "__ram_origin": project.entry.get("ram_origin"),
    "__ram_size": board.get("upload.maximum_ram_size"),
}

env.Replace(
    AR=f"{prefix}ar",
    AS=f"{prefix}as",
    CC=f"{prefix}gcc",
    CXX=f"{prefix}g++",
    LINK=f"{prefix}{arch.linker}",
    OBJCOPY=f"{prefix}objcopy",
    RANLIB=f"{prefix}ranlib",
    SIZETOOL=f"{prefix}size",
    ARFLAGS=["rcs"],
    PROGSUFFIX=".elf",
    SIZEPROGREGEXP=r"^(?:\.boot2|\.isr_vector|\.text|\.rodata\S*|\.weights_slots|\.ARM\.ex\S+|\.init_array|\.data)\s+(\d+).*",
    SIZEDATAREGEXP=r"^(?:\.data|\.bss|\.noinit)\s+(\d+).*",
    SIZECHECKCMD="$SIZETOOL -A -d $SOURCES",
    SIZEPRINTCMD="$SIZETOOL -A -d $SOURCES",
)
env.Append(
    ASFLAGS=[*arch.cpu],
    ASPPFLAGS=["-x", "assembler-with-cpp"],
    CFLAGS=[f"-std={arch.standard}", *arch.c_options],
    CXXFLAGS=[
        f"-std={arch.cxx_standard}",
        "-fno-exceptions",
        "-fno-rtti",
        "-fno-threadsafe-statics",
        "-fno-use-cxa-atexit",
    ],
    CCFLAGS=[*arch.cpu, "-Os", "-ffunction-sections", "-fdata-sections", "-fno-common"],
    CPPDEFINES=[("TINYML_CLOCK_HZ", board.get("build.f_cpu").rstrip("L")), *arch.defines],
    LINKFLAGS=[
        *arch.cpu,
        *arch.link,
        "-Wl,--gc-sections",
        "-Wl,--build-id=none",
        *arch.warnings,
        "-Wl,--fatal-warnings",
        "-Wl,-Map,$BUILD_DIR/${PROGNAME}.map",
        *(f"-Wl,--defsym={name}={value:#x}" for name, value in placement.items() if value is not None),
    ],
    LIBS=[*arch.libraries],
)
if script is not None:
    env.Replace(LDSCRIPT_PATH=str(script))

elf = env.BuildProgram()
# The files to flash come from an ELF file whose own post-action checks the budgets, so they exist only where it fits.
image_bin, image_hex = (
    env.Command(
        f"$BUILD_DIR/${{PROGNAME}}.{suffix}",
        elf,
        env.VerboseAction(f"$OBJCOPY -O {form} $SOURCE $TARGET", "Writing $TARGET"),
    )
    for suffix, form in (("bin", "binary"), ("hex", "ihex"))
)
if script is not None:
    env.Depends(elf, str(script))
images = [image_bin, image_hex]


def write_uf2(target, source, env):  # noqa: ARG001
    """Write the image as a UF2 file; fails where the chip's ROM would not start it."""
    image = Path(source[0].get_abspath()).read_bytes()
    try:
        uf2.check_boot2(image)
    except ValueError as e:
        sys.stderr.write(f"Error: {e}\n")
        return 1
    Path(target[0].get_abspath()).write_bytes(uf2.blocks(image, placement["__flash_origin"]))
    return 0


if project.entry.get("upload") == "uf2":
    action = env.VerboseAction(write_uf2, "Writing $TARGET")
    images += env.Command("$BUILD_DIR/${PROGNAME}.uf2", image_bin, action)
if project.split:
    # What replaces the firmware and leaves the weights on the board.
    action = env.VerboseAction("$OBJCOPY -O ihex -R .weights_slots $SOURCE $TARGET", "Writing $TARGET")
    images += env.Command("$BUILD_DIR/${PROGNAME}_alone.hex", elf, action)
AlwaysBuild(Alias("buildprog", images))

env.AddPlatformTarget("size", elf, env.VerboseAction("$SIZEPRINTCMD", "Sizes of $SOURCE"), "Sizes of the sections")
Default(images)
