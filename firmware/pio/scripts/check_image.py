"""After linking: fail where the image exceeds the board's RAM or flash; PlatformIO itself only warns of RAM.

This cannot be done in a script that runs before the platform's own: for an image that is there already PlatformIO
attaches the action at once, and the platform's script, which names the image, then replaces it.
"""

import json
import sys
from pathlib import Path

from project import BUDGET_MARK

from convert import budget, image

Import("env")  # noqa: F821


def check_image(target, source, env):  # noqa: ARG001
    """Compare the image's sections with the budgets; one that is too large is put aside, so that it is not taken."""
    project = env["TINYML_PROJECT"]
    elf = Path(target[0].get_abspath())
    sizes = image.sizes(elf)
    messages = budget.after_link(project.board, project.build, project.environment, sizes.flash, sizes.static_ram)
    for message in messages:
        sys.stderr.write(f"{BUDGET_MARK}{message}\n")
    if messages:
        elf.replace(elf.with_name("too_large.elf"))
        for stale in (elf.with_suffix(suffix) for suffix in (".bin", ".hex", ".uf2")):
            stale.unlink(missing_ok=True)
    return 1 if messages else 0


def main(env):
    """Attach the check to the image, and make the image depend on what it is checked against."""
    elf = "$BUILD_DIR/${PROGNAME}.elf"
    project = env["TINYML_PROJECT"]
    limits = {"board": project.board, "memory": project.build["memory"], "vectors": project.build["vector_bytes"]}
    env.Depends(elf, env.Value(json.dumps(limits, sort_keys=True)))
    env.AddPostAction(elf, env.VerboseAction(check_image, "Checking budgets"))


main(env)  # noqa: F821
