"""The page of a sweep: what it holds, in a browser at two widths if there is one."""

import html
import json
import re
import shutil

import pytest

from lenet_alexnet.sweep import grid, page, product, results, seeds, series
from lenet_alexnet.sweep.trials import Sweep
from tests.helpers.sweep_files import fake, trials_of

BAD = "</script><img src=x onerror=alert(1)>&"
RATES = [0.001, 0.003, 0.01, 0.03]


@pytest.fixture
def swept(tmp_path):
    """A sweep over a rate, a name with HTML in it, and seeds; one trial has failed."""
    sweep = Sweep(tmp_path / "a <b> sweep")
    axes = grid({"optimizer.learning_rate": RATES, "data.name": [BAD, "plain"]})
    trials = trials_of(product(axes, seeds(2)))
    for trial in trials[:-1]:
        o = trial.overrides
        error = o["optimizer.learning_rate"] + 0.1 * (o["data.name"] == BAD) + o["seed"] / 100
        fake(sweep, trial, error)
    sweep.folder(trials[-1].id).mkdir(parents=True)
    sweep.end(trials[-1].id, "failed", f"exit code 1; {BAD}")
    rows = results.collect(sweep, trials)
    return sweep, rows, page.write(sweep, rows, "top1_error")


def test_the_page_of_a_sweep_holds_its_charts_and_escapes_all_names(swept):
    _, rows, path = swept
    text = path.read_text()
    assert path.name == "report.html"
    assert "<img" not in text
    assert text.count("</script>") == 2
    assert "a <b> sweep" not in text
    assert text.count(html.escape(f"exit code 1; {BAD}")) == 1
    assert not re.findall(r"(?:src|href)=", text.replace("src=x", ""))
    assert set(re.findall(r"https?://[^\"' ]+", text)) == {"http://www.w3.org/2000/svg"}
    data = json.loads(re.search(r'id="data">(.*?)</script>', text)[1])
    by_rate, curves = data["charts"]
    assert (by_rate["labelX"], by_rate["labelY"]) == ("optimizer.learning_rate", "test error, %")
    assert by_rate["logX"]
    assert len(by_rate["points"]) == 15
    names = [line["name"] for line in by_rate["lines"]]
    assert names == ["name=plain (n=2)", f"name={BAD} (n=2)"]  # the best first
    assert by_rate["lines"][1]["x"] == RATES
    assert by_rate["lines"][1]["y"] == pytest.approx([100 * rate + 10.5 for rate in RATES])
    assert by_rate["lines"][1]["sd"] == pytest.approx([2**-0.5] * 4)
    assert len(curves["lines"]) == 8
    assert curves["lines"][0]["x"] == [1, 2]
    assert data["parallel"]["keys"] == ["optimizer.learning_rate", "data.name", "test error, %"]
    assert data["parallel"]["logs"] == [True, False, False]
    values = {trial["id"]: trial["values"] for trial in data["parallel"]["trials"]}
    assert values[rows[0].trial.id] == [0.001, BAD, pytest.approx(10.1)]


def test_the_page_of_a_sweep_without_results(tmp_path):
    sweep, trials = Sweep(tmp_path), trials_of([{"seed": 1}, {"seed": 2}])
    text = page.as_html(sweep, results.collect(sweep, trials), "top1_error")
    assert "no trial has completed" in text
    assert "2 trials: 2 pending." in text
    fake(sweep, trials[0], 0.5)
    text = page.as_html(sweep, results.collect(sweep, trials), "top1_error")
    data = json.loads(re.search(r'id="data">(.*?)</script>', text)[1])
    assert len(data["charts"]) == 1  # Only the curves: no number was swept.


def test_the_lines_of_a_sweep_are_the_same_in_page_and_figures(swept):
    sweep, rows, path = swept
    done = [row for row in rows if row.status == "completed"]
    data = json.loads(re.search(r'id="data">(.*?)</script>', path.read_text())[1])
    for line, drawn in zip(
        series.curves(sweep, done, "top1_error"), data["charts"][1]["lines"], strict=True
    ):
        assert drawn["y"] == [100 * mean for mean in line.means]


@pytest.fixture(scope="module")
def browser():
    """Chromium, if it and playwright are installed."""
    playwright = pytest.importorskip("playwright.sync_api", reason="pip install playwright")
    found = shutil.which("chromium") or shutil.which("google-chrome")
    if not found:
        pytest.skip("needs Chromium")
    with playwright.sync_playwright() as started:
        opened = started.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.mark.parametrize(("width", "scheme"), [(375, "light"), (1280, "dark")])
def test_the_page_of_a_sweep_in_a_browser(swept, browser, width, scheme):
    _, rows, path = swept
    context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)
    shown, reported, asked = context.new_page(), [], []
    shown.on("console", lambda message: reported.append(message.text))
    shown.on("pageerror", lambda error: reported.append(str(error)))
    shown.on("dialog", lambda dialog: reported.append("a script ran"))
    shown.on("request", lambda sent: asked.append(sent.url))
    shown.goto(path.as_uri())
    assert shown.evaluate("document.documentElement.scrollWidth") == width
    assert shown.locator("#parallel .trial").count() == 15
    assert shown.locator("#chart0 polyline").count() == 2
    assert shown.locator("#chart1 polygon").count() == 8
    for text in shown.locator("svg text").all():
        box = text.bounding_box()
        assert box["x"] >= 0, text.text_content()
        assert box["x"] + box["width"] <= width, text.text_content()
    head = shown.locator(".trials th", has_text="test error, %").first
    column = shown.locator(".trials th").all_text_contents().index("test error, %")
    cells = shown.locator(f".trials td:nth-child({column + 1})")
    head.locator("button").click()
    up = cells.all_text_contents()
    assert up[:-1] == sorted(up[:-1], key=float)
    assert up[-1] == ""  # The failed trial is last, in both directions.
    head.locator("button").click()
    assert cells.all_text_contents() == [*reversed(up[:-1]), ""]
    assert head.get_attribute("aria-sort") == "descending"
    line = shown.locator("#parallel .trial").last
    line.dispatch_event("click")
    best = min(rows[:-1], key=lambda row: row.values["top1_error"])
    assert best.trial.id in shown.locator(".said").text_content()
    colours = shown.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (colours == "rgb(255, 255, 255)") == (scheme == "light")
    assert reported == []
    assert asked == [path.as_uri()]
    context.close()
