"""The target `upload`: tool, port, probe and drive are looked for before anything is built.

The bare platform's images are flashed here. The official platforms flash with tools of their own; but where several
serial ports exist and none has the board's USB ids, they may take one that is no board, so the port is chosen here.
"""

import os
import sys
from pathlib import Path

from SCons.Script import COMMAND_LINE_TARGETS

from convert import flash
from convert.errors import PipelineError

Import("env")  # noqa: F821


def fail(env, error):
    """End the build with one line."""
    sys.stderr.write(f"Error: {error}\n")
    sys.stderr.flush()
    env.Exit(1)


def plan(env):
    """How the bare image is flashed; TINYML_UPLOAD_TOOL takes another tool than the board's usual one."""
    project = env["TINYML_PROJECT"]
    return flash.plan(
        project.board,
        project.entry,
        Path(env.subst("$BUILD_DIR/$PROGNAME")),
        env.subst("$UPLOAD_PORT") or None,
        os.environ.get("TINYML_UPLOAD_TOOL") or None,
    )


def upload(target, source, env):  # noqa: ARG001
    """Flash; the port may have changed its name during the build, so it is looked for again."""
    try:
        what = plan(env)
        print(f"{what}")
        sys.stdout.flush()
        flash.run(what)
    except PipelineError as e:
        sys.stderr.write(f"Error: {e}\n")
        return 1
    return 0


def bare(env):
    """Add the target and look for what it needs."""
    project = env["TINYML_PROJECT"]
    suffixes = {flash.TOOLS[name].image for name in flash.tools(project.board, project.entry)}
    images = [f"$BUILD_DIR/${{PROGNAME}}{suffix}" for suffix in sorted(suffixes)]
    env.AddPlatformTarget("upload", images, env.VerboseAction(upload, "Uploading"), "Upload")
    if "upload" in COMMAND_LINE_TARGETS:
        plan(env)


def official(env):
    """Choose the port of a platform that opens one."""
    project = env["TINYML_PROJECT"]
    protocol = env.subst("$UPLOAD_PROTOCOL") or env.BoardConfig().get("upload.protocol", "")
    serial = protocol in flash.SERIAL_PROTOCOLS or not protocol
    if "upload" in COMMAND_LINE_TARGETS and serial:
        env.Replace(UPLOAD_PORT=flash.choose_port(project.board, env.subst("$UPLOAD_PORT") or None))


def main(env):
    """Prepare the target where there is something to upload."""
    project = env.get("TINYML_PROJECT")
    if project is None:
        return
    try:
        bare(env) if project.entry["platform"] == "bare" else official(env)
    except PipelineError as e:
        fail(env, e)


main(env)  # noqa: F821
