"""Starts the SCons that pip installed, where PlatformIO expects its own copy."""

import sys

try:
    from SCons.Script.Main import main
except ImportError:
    sys.exit(f"Error: SCons is missing in this Python; run: {sys.executable} -m pip install scons==4.11.1")

main()
