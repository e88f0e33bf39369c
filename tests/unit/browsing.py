"""Pages in a browser: what is wider than the window, or holds more than it shows."""

from __future__ import annotations

import html
import json
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
# Names what reaches beyond the window, or holds more than it shows; says so to the page around it.
PROBE = """
<script>addEventListener("load", () => {
  const page = document.documentElement, width = page.clientWidth, beyond = [];
  for (const element of document.querySelectorAll("%s *")) {
    const head = element.closest("thead"), box = element.getBoundingClientRect();
    if (head && getComputedStyle(head).position === "absolute") continue;
    const out = box.width && (box.right > width + 1 || box.left < -1);
    const cut = element.clientWidth && element.scrollWidth > element.clientWidth + 1;
    if (out || cut) beyond.push(element.tagName + ": " + element.textContent.slice(0, 60));
  }
  parent.postMessage({width, scroll: page.scrollWidth, beyond}, "*");
})</script>"""
FRAME = """<!DOCTYPE html><body style="margin: 0"><pre></pre>
<script>const layouts = {};
addEventListener("message", ({data, source}) => {
  const frames = [...document.querySelectorAll("iframe")];
  layouts[frames.find(frame => frame.contentWindow === source).id] = data;
  document.querySelector("pre").textContent = JSON.stringify(layouts);
})</script>
"""
WINDOW = (
    '<iframe id="{width} {page}" src="{page}" scrolling="no" '
    'style="width: {width}px; height: 2000px; border: 0"></iframe>'
)


def layouts(
    folder: Path, pages: Sequence[str], widths: Sequence[int], browser: str, within: str = "body"
) -> dict[tuple[str, int], dict[str, Any]]:
    """Return how wide pages are in windows of so many pixels, and what does not fit.

    Parameters
    ----------
    folder : path
        Holds the pages, which are changed.
    pages : sequence of str
        Their names.
    widths : sequence of int
        Of the windows, pixels.
    within : str
        What is looked at, a CSS selector.
    """
    for page in pages:
        text = (folder / page).read_text(encoding="utf-8")
        probed = text.replace("</body>", f"{PROBE % within}</body>")
        (folder / page).write_text(probed, encoding="utf-8")
    # The window of a browser has a least width; a frame has none.
    windows = [WINDOW.format(page=page, width=width) for page in pages for width in widths]
    (folder / "frame.html").write_text("\n".join([FRAME, *windows]))
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=20000"]
    options += [f"--user-data-dir={folder / 'profile'}", "--window-size=1400,1000", "--dump-dom"]
    done = subprocess.run(
        [browser, *options, (folder / "frame.html").as_uri()],
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    told = re.search("<pre>({.*})</pre>", done.stdout)
    assert told is not None, done.stderr[-2000:]
    found: dict[str, dict[str, Any]] = json.loads(html.unescape(told[1]))
    named = {name: name.split(" ", 1) for name in found}
    return {(page, int(width)): found[name] for name, (width, page) in named.items()}
