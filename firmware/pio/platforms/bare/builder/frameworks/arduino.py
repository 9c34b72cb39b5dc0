"""The Arduino core for AVR as Debian packages it (arduino-core-avr), built as PlatformIO's own framework builds it."""

import sys
from pathlib import Path

from SCons.Script import DefaultEnvironment

env = DefaultEnvironment()
board = env.BoardConfig()
FRAMEWORK = Path("/usr/share/arduino/hardware/arduino/avr")
CORE = FRAMEWORK / "cores" / board.get("build.core")
VARIANT = FRAMEWORK / "variants" / board.get("build.variant")

if not (CORE / "Arduino.h").is_file():
    sys.stderr.write(
        f"Error: the Arduino core for AVR is not in {FRAMEWORK}; "
        "on Debian or Ubuntu run: apt-get install arduino-core-avr\n"
    )
    sys.stderr.flush()
    env.Exit(1)

env.Append(
    CPPDEFINES=[
        ("F_CPU", board.get("build.f_cpu")),
        ("ARDUINO", 10819),  # the IDE's version; the board's own macros are in its build.extra_flags
        # avr-gcc 5.4 has the macro of <float.h>, which WString.cpp uses, for C11 only.
        ("DECIMAL_DIG", "__DECIMAL_DIG__"),
    ],
    CPPPATH=[str(CORE), str(VARIANT)],
)
env.Prepend(LIBS=[env.BuildLibrary(str(Path("$BUILD_DIR") / "FrameworkArduino"), str(CORE))])
