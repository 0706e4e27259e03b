"""The report in a real browser, as a phone and a desk see it, by day and by night."""

import os
from pathlib import Path

import pytest
from pytest import fixture, mark, param
from sample import bare_results, crowded_results, sample_data_ranking, sample_ranking, sample_results

from headstart.report.build import write_report
from headstart.report.ranking_page import write_page

CHROMIUM = Path("/usr/bin/chromium")
OPTIONS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

pytestmark = [mark.browser, mark.skipif(not CHROMIUM.exists(), reason="chromium is not installed")]

# The effective size of a drawn text: its own, times the scale of its drawing.
SMALLEST_TEXT = """() => Math.min(...[...document.querySelectorAll('svg text')]
  .filter(text => text.getClientRects().length)
  .map(text => parseFloat(getComputedStyle(text).fontSize) * text.ownerSVGElement.getBoundingClientRect().width
    / text.ownerSVGElement.viewBox.baseVal.width))"""

# Texts that stand out of their drawing, on either side of the page.
CUT_OFF = """() => [...document.querySelectorAll('svg text')].filter(text => {
  const box = text.getBoundingClientRect();
  return box.width && (box.left < 0 || box.right > innerWidth);
}).map(text => text.textContent)"""


@fixture(scope="module")
def browser():
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=str(CHROMIUM), args=OPTIONS)
        yield running
        running.close()


@fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("reports")
    for name, results in (("rich", sample_results()), ("bare", bare_results()), ("crowded", crowded_results())):
        write_report(results, folder / f"{name}.html")
    write_page(sample_ranking(), folder / "ranking.html")
    write_page(sample_data_ranking(), folder / "data.html")
    return folder


@mark.parametrize("width", [390, 1400])
@mark.parametrize(
    ("name", "scheme"),
    [
        *(param("rich", scheme) for scheme in ("light", "dark")),
        *(param(name, "light") for name in ("bare", "crowded", "ranking", "data")),
        *(param(name, "dark", marks=mark.slow) for name in ("bare", "crowded", "ranking", "data")),
    ],
)
def test_the_report_opens_without_complaint_and_fits(browser, folder, name, width, scheme):
    address = (folder / f"{name}.html").as_uri()
    said: list[str] = []
    fetched: list[str] = []
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    try:
        page = context.new_page()
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: fetched.append(request.url))
        page.goto(address)
        # Folded parts must fit as well.
        page.evaluate("document.querySelectorAll('details').forEach(part => part.open = true)")
        shots = Path(os.environ.get("HEADSTART_SCREENSHOTS", folder))
        shot = page.screenshot(path=str(shots / f"{name}-{width}-{scheme}.png"), full_page=name != "crowded")
        assert len(shot) > 10_000
        assert said == []
        assert [url for url in fetched if url not in (address, "data:,")] == []
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert page.evaluate(SMALLEST_TEXT) >= 11
        assert page.evaluate(CUT_OFF) == []
        paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert paper == ("rgb(253, 253, 252)" if scheme == "light" else "rgb(20, 23, 26)")
    finally:
        context.close()


def test_the_browser_check_finds_what_it_looks_for(browser, tmp_path):
    path = tmp_path / "bad.html"
    path.write_text("<img src='missing.png'><div style='width:2000px'>wide</div><script>console.error('no')</script>")
    page = browser.new_page(viewport={"width": 390, "height": 900})
    said, fetched = [], []
    page.on("console", lambda message: said.append(message.text))
    page.on("request", lambda request: fetched.append(request.url))
    page.goto(path.as_uri())
    assert "no" in said
    assert any(url.endswith("missing.png") for url in fetched)
    assert not page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.close()


def test_the_report_prints(browser, folder):
    page = browser.new_page()
    page.goto((folder / "rich.html").as_uri())
    assert len(page.pdf()) > 20_000
    page.close()
