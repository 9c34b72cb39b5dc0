"""Flags and library of the core, set while the program is being built, like the official framework's script."""

from pathlib import Path

from SCons.Script import DefaultEnvironment

env = DefaultEnvironment()
here = Path(env.PioPlatform().get_dir())
cpu = ["-mcpu=cortex-m4", "-mthumb", "-mfpu=fpv4-sp-d16", "-mfloat-abi=softfp"]
# The core's own options say softfp; the platform puts soft behind them. Not when linking here: given both, newer GCCs
# take libraries in Arm code.
soft = [*cpu, "-funsigned-char", "-mfloat-abi=soft"]
places = {"flash_origin": 0x10000, "flash_size": 0xF0000, "ram_origin": 0x20000000, "ram_size": 0x40000}
env.Append(
    ASFLAGS=[option for option in soft if option.startswith("-m")],
    ASPPFLAGS=["-x", "assembler-with-cpp"],
    CFLAGS=["-std=gnu11"],
    CXXFLAGS=["-std=gnu++14", "-fno-exceptions", "-fno-rtti"],
    CCFLAGS=[*soft, "-Os", "-g", "-ffunction-sections", "-fdata-sections"],
    CPPDEFINES=[("ARDUINO", 10810), "ARDUINO_ARDUINO_NANO33BLE"],
    CPPPATH=[str(here / "core")],
    LINKFLAGS=[
        *cpu,
        "--specs=nano.specs",
        "--specs=nosys.specs",
        "-nostartfiles",
        "-Wl,--gc-sections",
        *(f"-Wl,--defsym=__{name}={value:#x}" for name, value in places.items()),
    ],
)
env.Replace(LDSCRIPT_PATH=env.subst("$PROJECT_DIR/firmware/ports/cortex_m/link.ld"))
env.Prepend(LIBS=[env.BuildLibrary("$BUILD_DIR/FrameworkArduino", str(here / "core"))])
