"""Sets compilers, then builds, then makes the image: the order of the official platform's script."""

from pathlib import Path

from SCons.Script import Default, DefaultEnvironment

env = DefaultEnvironment()
old = f'"$PYTHONEXE" "{Path(env.PioPlatform().get_dir()) / "old_gcc.py"}"'
env.Replace(
    AR="arm-none-eabi-ar",
    CC=f"{old} arm-none-eabi-gcc",
    CXX=f"{old} arm-none-eabi-g++",
    LINK="arm-none-eabi-g++",
    OBJCOPY="arm-none-eabi-objcopy",
    RANLIB="arm-none-eabi-ranlib",
    SIZETOOL="arm-none-eabi-size",
    ARFLAGS=["rc"],
    SIZEPROGREGEXP=r"^(?:\.text|\.data|\.rodata|\.text.align|\.ARM.exidx)\s+(\d+).*",
    SIZEDATAREGEXP=r"^(?:\.data|\.bss|\.noinit)\s+(\d+).*",
    SIZECHECKCMD="$SIZETOOL -A -d $SOURCES",
    PROGSUFFIX=".elf",
)
if env.get("PROGNAME", "program") == "program":
    env.Replace(PROGNAME="firmware")
elf = env.BuildProgram()
firmware = env.Command(
    "$BUILD_DIR/${PROGNAME}.bin", elf, env.VerboseAction("$OBJCOPY -O binary $SOURCE $TARGET", "Building $TARGET")
)


def flash(target, source, env):  # noqa: ARG001
    """The official script looks for a port of its own where none is given."""
    print(env.subst("flashing through [$UPLOAD_PORT]"))


env.AddPlatformTarget("upload", firmware, env.VerboseAction(flash, "Uploading $SOURCE"), "Upload")
Default([env.Alias("buildprog", firmware, firmware)])
