"""Draw console output as an SVG picture for the README.

TTY_COMPATIBLE=1 TTY_INTERACTIVE=0 COLUMNS=120 python convert/build.py --board nano33 > build/console.txt
python docs/picture.py build/console.txt docs/console.svg "python convert/build.py --board nano33"
"""

import io
import re
import sys
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text


def draw(text: str, title: str) -> str:
    """The SVG of text with ANSI colours."""
    # Rich hides and shows the cursor around its live displays.
    text = "\n".join(line for line in re.sub(r"\x1b\[\?25[lh]", "", text).splitlines() if line.strip())
    width = max(len(Text.from_ansi(line)) for line in text.splitlines()) + 1
    console = Console(record=True, width=width, file=io.StringIO(), force_terminal=True)
    console.print(Text.from_ansi(text))
    svg = console.export_svg(title=title, theme=MONOKAI, unique_id="console")
    # Without the fonts from the network that Rich refers to; the reader's own monospace one serves.
    return re.sub(r"\s*@font-face \{.*?\n\s*\}", "", svg, flags=re.DOTALL)


if __name__ == "__main__":
    source, target, title = sys.argv[1:4]
    Path(target).write_text(draw(Path(source).read_text(), title))
