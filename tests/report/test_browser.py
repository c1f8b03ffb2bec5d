"""The report in a real browser: nothing on the console, every figure drawn, no sideways scrolling, light and dark.

The report itself has no scripts and forbids them. Sizes are measured in a copy without the policy, with a probe
appended, framed at desktop and phone width; console and pictures are taken from the report as it is.
"""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
import warnings
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest

pytestmark = pytest.mark.browser

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--enable-logging=stderr",
    "--v=0",
)
RUNS = ("digits", "revealed", "diabetes", "multilabel", "heat", "plate", "masks", "strips")
WIDTHS = (1280, 390)
PROBE = """<script>
addEventListener("load", () => {
  const figures = [...document.querySelectorAll("svg, img")].map(e => {
    const box = e.getBoundingClientRect();
    const parts = [...e.querySelectorAll("path, use, text, image")].filter(p => {
      const b = p.getBoundingClientRect(); return b.width > 0 || b.height > 0; });
    const words = [...e.querySelectorAll("text")].map(t => t.getBoundingClientRect().height);
    return {label: e.getAttribute("aria-label"), x: box.x, y: box.y, width: box.width, height: box.height,
            parts: parts.length, smallest: Math.min(...words)};
  });
  const root = document.documentElement;
  const [scroll, height] = [root.scrollWidth, root.scrollHeight];
  parent.postMessage({name: NAME, width: innerWidth, scroll, height, figures}, "*");
});
</script>"""
PARENT = """<!doctype html><title>probe</title><body><pre id="found"></pre>
<script>
const found = [];
addEventListener("message", e => {
  found.push(e.data);
  document.getElementById("found").textContent = JSON.stringify(found);
});
</script>FRAMES</body>"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory):
    program = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if program is None:
        message = "NO BROWSER: the report was not checked in one. Install it with: apt-get install chromium"
        warnings.warn(message, stacklevel=1)
        pytest.skip(message)
    profile = tmp_path_factory.mktemp("profile")

    def run(address: str, *flags: str) -> tuple[str, list[str]]:
        """What was written to stdout, and the console's lines."""
        command = [program, *FLAGS, f"--user-data-dir={profile}", *flags, address]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, errors="replace")
        return done.stdout, [line for line in done.stderr.splitlines() if ":CONSOLE" in line]

    return run


@pytest.fixture(scope="module")
def probed(browser, rendered, tmp_path_factory) -> dict[tuple[str, int], dict]:
    """(run, width) -> what the probe measured."""
    folder = tmp_path_factory.mktemp("probe")
    frames = []
    for name in RUNS:
        page = rendered(name).read_text(encoding="utf-8")
        page = re.sub(r"<meta http-equiv=.Content-Security-Policy.[^>]*>", "", page)
        (folder / f"{name}.html").write_text(
            page.replace("</body>", PROBE.replace("NAME", json.dumps(name)) + "</body>")
        )
        frames += [f'<iframe src="{name}.html" style="width:{w}px;height:3000px;border:0"></iframe>' for w in WIDTHS]
    (folder / "index.html").write_text(PARENT.replace("FRAMES", "".join(frames)))
    dom, console = browser(f"file://{folder}/index.html", "--virtual-time-budget=3000", "--dump-dom")
    assert console == []
    found = re.search(r'<pre id="found">(.*?)</pre>', dom, re.S)
    assert found is not None
    return {(m["name"], m["width"]): m for m in json.loads(html.unescape(found[1]))}


def test_the_console_check_can_fail(browser, tmp_path: Path):
    (tmp_path / "bad.html").write_text(
        "<meta http-equiv='Content-Security-Policy' content=\"default-src 'none'\"><p style='color:red'>x</p>"
    )
    assert browser(f"file://{tmp_path}/bad.html", "--dump-dom")[1]


def test_no_console_lines(browser, rendered, tmp_path: Path):
    frames = "".join(f'<iframe src="file://{rendered(n)}" height="4000"></iframe>' for n in RUNS)
    (tmp_path / "all.html").write_text(f"<!doctype html><title>all</title><body>{frames}</body>")
    dom, console = browser(f"file://{tmp_path}/all.html", "--virtual-time-budget=2000", "--dump-dom")
    assert dom.count("<iframe") == len(RUNS)
    assert console == []


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", RUNS)
def test_all_figures_are_drawn_at_a_readable_size(probed, rendered, name, width):
    seen = probed[name, width]
    expected = rendered(name).read_text().count("<svg ")
    assert len(seen["figures"]) == expected >= 2
    for figure in seen["figures"]:
        assert figure["width"] >= 250, figure["label"]
        assert figure["height"] >= 80, figure["label"]
        assert figure["parts"] >= 8, figure["label"]
        assert figure["smallest"] >= 8, figure["label"]  # pixels from the top to the bottom of a line of text
    assert seen["scroll"] <= width  # the page itself never scrolls sideways


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_figures_are_not_blank_on_either_background(browser, rendered, probed, tmp_path: Path, theme):
    seen = probed["digits", 1280]
    picture = tmp_path / "page.png"
    page = rendered("digits")
    dark = ["--blink-settings=preferredColorScheme=0"] if theme == "dark" else []
    size = f"--window-size=1280,{seen['height']}"
    _, console = browser(f"file://{page}", f"--screenshot={picture}", size, *dark)
    assert console == []
    pixels = matplotlib.image.imread(picture)[..., :3]
    background = np.median(pixels.reshape(-1, 3), axis=0).mean()
    assert background > 0.9 if theme == "light" else background < 0.2
    for figure in seen["figures"]:
        x, y, w, h = (int(figure[k]) for k in ("x", "y", "width", "height"))
        region = pixels[y : y + h, x : x + w]
        assert region.size, figure["label"]
        far = np.abs(region.mean(axis=2) - background) > 0.35  # ink that stands out from this background
        assert 0.002 < far.mean() < 0.6, (theme, figure["label"], far.mean())
