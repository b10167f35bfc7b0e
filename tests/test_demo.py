"""The page to draw a digit on: its answers, its server, and drawing in a real browser."""

import base64
import dataclasses
import http.client
import json
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import urllib.request
from functools import partial

import jax
import numpy as np
import pytest

from lenet_alexnet import load
from lenet_alexnet.cli import main
from lenet_alexnet.data.sources import embedded
from lenet_alexnet.demo.reader import CODE, Reader, Readers
from lenet_alexnet.demo.server import BYTES, Server, policy
from lenet_alexnet.errors import DataError, UsageError
from lenet_alexnet.inference import bundled, glyph
from lenet_alexnet.inference.model_file import open_trained
from lenet_alexnet.models.lenet_1998.tables import digit_codes
from tests.helpers import ROOT, drawn_digits

NAMES = ("lenet5_1998", "lenet5_mnist")
SEVEN = ((0.3, 0.22), (0.72, 0.22), (0.45, 0.8))  # in shares of the pad


@pytest.fixture(scope="module")
def readers():
    return Readers({name: partial(open_trained, bundled.find(name)) for name in NAMES})


@pytest.fixture(scope="module")
def server(readers):
    with Server(0, readers) as served:
        threading.Thread(target=served.serve_forever, daemon=True).start()
        yield served
        served.shutdown()


def enlarged(index):
    """A digit of the package as a drawing."""
    return embedded.read("test").images[index, ..., 0].repeat(10, 0).repeat(10, 1)


def ask(server, method="POST", path="/answer?network=lenet5_1998", body=None, **headers):
    """The status and content of a request, sent as the page does except for `headers`."""
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=60)
    sent = {"Content-Type": BYTES} | {k.replace("_", "-"): v for k, v in headers.items()}
    connection.request(method, path, body=body, headers=sent)
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return answer.status, content


def levels(picture):
    shape = picture["maps"], picture["height"], picture["width"]
    return np.frombuffer(base64.b64decode(picture["pixels"]), np.uint8).reshape(shape)


def values(picture):
    """What a picture shows, to 1/255 of its range."""
    low, high = picture["low"], picture["high"]
    return low + levels(picture) / 255 * (high - low)


@pytest.mark.parametrize("name", NAMES)
def test_the_answer_is_that_of_the_network(server, name):
    ink = enlarged(3)
    status, content = ask(server, path=f"/answer?network={name}", body=ink.tobytes())
    assert status == 200
    found = json.loads(content)
    assert found["answer"] == embedded.read("test").labels[3]
    seen = levels(found["input"])[0]
    assert np.array_equal(seen, glyph.from_ink(ink).pixels)
    network = load(name)
    program = jax.jit(lambda images: (network(images), network.features(images)))
    (scores,), outputs = jax.device_get(program(seen[None, ..., None]))
    powers = np.exp(scores - scores.max())
    assert found["probabilities"] == pytest.approx(powers / powers.sum(), abs=1e-4)
    assert [layer["name"] for layer in found["layers"]] == ["C1", "S2", "C3", "S4", "C5", "F6"]
    for layer in found["layers"]:
        expected = outputs[layer["name"]][0]
        if layer["height"] > 1:
            expected = np.moveaxis(expected, -1, 0)
        step = (layer["high"] - layer["low"]) / 255
        assert values(layer).ravel() == pytest.approx(expected.ravel(), abs=step)


def test_the_codes_of_1998(readers):
    found = readers["lenet5_1998"](enlarged(0))
    answer, shown = found["answer"], found["codes"]
    code = digit_codes()[answer].reshape(CODE)
    assert values(shown["code"])[0] == pytest.approx(code, abs=0.02)
    states = values(shown["states"])[0]
    assert shown["penalties"][answer] == min(shown["penalties"])
    assert ((states - code) ** 2).sum() == pytest.approx(shown["penalties"][answer], abs=1)
    assert "codes" not in readers["lenet5_mnist"](enlarged(0))


def test_a_drawing_is_prepared_like_its_picture():
    assert glyph.from_ink(np.zeros((9, 9), np.uint8)) == (pytest.approx(0), [glyph.NO_INK])
    for drawing in drawn_digits.drawings(3, 10, chalk=True, falloff=0.0, paper=0.97):
        picture = drawing.pixels
        ink = np.where(picture > 127, 255, 0).astype(np.uint8)
        found, expected = (
            p.pixels.astype(int) for p in (glyph.from_ink(ink), glyph.prepare(picture))
        )
        # Centres are rounded to pixels, so that one may be a pixel beside the other.
        near = [np.roll(expected, by, (0, 1)) for by in np.ndindex(3, 3)]
        near = [np.roll(image, (-1, -1), (0, 1)) for image in near]
        assert min(np.abs(found - image).mean() for image in near) < 8


def test_networks_that_do_not_read_digits(readers):
    run = open_trained(bundled.find("lenet5_mnist"))
    with pytest.raises(UsageError, match="'clothes' does not read digits"):
        Reader("clothes", dataclasses.replace(run, class_names=tuple("abcdefghij")))
    broken = {"params": {k: dict(v) for k, v in run.variables["params"].items()}}
    broken["params"]["F6"]["bias"] = np.full(84, np.nan, np.float32)
    with pytest.raises(DataError, match="not all finite"):
        Reader("broken", dataclasses.replace(run, variables=broken))(enlarged(0))


def test_the_page_uses_nothing_from_elsewhere(server):
    status, content = ask(server, "GET", "/")
    page = content.decode()
    assert status == 200
    assert not re.search(r"https?:|//\w|url\(|@import|<link(?! rel=\"icon\" href=\"data:,\")", page)
    assert not re.search(r"<\w[^>]*\s(style|on\w+)=", page)  # The policy forbids these.
    assert policy(page).startswith("default-src 'none'; connect-src 'self'")
    assert json.loads(ask(server, "GET", "/networks")[1]) == list(NAMES)


@pytest.mark.attack(
    "foreign", "a page of another site, or a rebound name, asks the demo", "403; nothing computed"
)
def test_only_the_page_itself_may_ask(server):
    body, port = enlarged(0).tobytes(), server.server_port
    for host in ("evil.example", f"evil.example:{port}", f"127.0.0.1.evil.example:{port}", ""):
        assert ask(server, "GET", "/", Host=host)[0] == 403
        assert ask(server, body=body, Host=host)[0] == 403
    for origin in (
        "http://evil.example",
        "null",
        f"https://127.0.0.1:{port}",
        "http://127.0.0.1:1",
    ):
        assert ask(server, body=body, Origin=origin)[0] == 403
    assert ask(server, body=body, Origin=f"http://127.0.0.1:{port}")[0] == 200
    forwarded = "localhost:9000"  # by ssh -L
    assert ask(server, body=body, Host=forwarded, Origin=f"http://{forwarded}")[0] == 200


@pytest.mark.attack(
    "foreign", "requests to the demo that its page does not send", "refused in one line each"
)
def test_other_requests_are_refused(server):
    body = enlarged(0).tobytes()
    assert ask(server, body=body[1:])[0] == 400
    assert ask(server, body=b"x", Content_Length=str(10**12))[0] == 400
    assert ask(server, body=iter([body]), Transfer_Encoding="chunked")[0] == 400
    assert ask(server, body=body, Content_Type="text/plain")[0] == 415
    assert ask(server, path="/other", body=body)[0] == 404
    assert ask(server, "GET", "/../server.py")[0] == 404
    assert ask(server, "PUT", body=body)[0] == 501
    status, line = ask(server, path="/answer?network=lenet5_minst", body=body)
    assert (status, line) == (422, b"unknown network 'lenet5_minst': did you mean 'lenet5_mnist'?")
    assert ask(server, body=body)[0] == 200


def test_wrong_flags_are_one_line(capsys, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        for flags, line in (
            ([f"--port={port}"], f"cannot use port {port}: Address already in use; --port=0"),
            (["--port=65536"], "65536 is not an integer in the range"),
            (["--model=lenet5_minst"], "did you mean 'lenet5_mnist'?"),
            ([f"--workdir={tmp_path}"], "has no config.json"),
            (["--model=lenet5_mnist", "--workdir=x"], "give one of them"),
        ):
            assert main(["lenet-alexnet", "demo", "--no-browser", *flags]) == 2
            err = capsys.readouterr().err
            assert line in err
            assert err.count("\n") == 1


@pytest.mark.slow
def test_it_stops_on_ctrl_c():
    command = [
        sys.executable,
        "-m",
        "lenet_alexnet",
        "demo",
        "--model=lenet5_mnist",
        "--no-browser",
    ]
    process = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        line = process.stdout.readline()
        url = re.fullmatch(r"draw a digit at (http://127\.0\.0\.1:\d+/) \(Ctrl-C stops\)\n", line)[
            1
        ]
        with urllib.request.urlopen(url, timeout=60) as answer:
            assert b"<canvas" in answer.read()
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=60)[1] == "stopped\n"
        assert process.returncode == 0
    finally:
        process.kill()
        process.communicate()


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


@pytest.fixture
def page(browser, server, request):
    """The page in a window, and what it asked for and reported."""
    context = browser.new_context(**{"viewport": {"width": 1280, "height": 800}, **request.param})
    page = context.new_page()
    page.asked, page.reported = [], []
    page.on("request", lambda sent: page.asked.append(sent.url))
    page.on("console", lambda message: page.reported.append(message.text))
    page.on("pageerror", lambda error: page.reported.append(str(error)))
    page.goto(server.url)
    yield page
    assert page.reported == []
    assert all(url.startswith((server.url, "data:")) for url in page.asked)
    context.close()


def places(page):
    box = page.locator("#pad").bounding_box()
    return [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in SEVEN]


def answered(page, text):
    page.wait_for_function(
        "text => document.getElementById('answer').textContent.startsWith(text)", arg=text
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    "page",
    [{}, {"viewport": {"width": 375, "height": 700}, "color_scheme": "dark"}],
    indirect=True,
    ids=["wide", "phone"],
)
def test_a_seven_drawn_with_the_mouse(page):
    first, *others = places(page)
    page.mouse.move(*first)
    page.mouse.down()
    for place in others:
        page.mouse.move(*place, steps=8)
    page.mouse.up()
    page.wait_for_function("() => !busy")
    answered(page, "7 (")
    best = page.locator("#classes tr.best").inner_text().split()
    assert best[0] == "7"
    assert page.locator("#code figcaption").inner_text() == "the code of 7"
    captions = page.locator("#layers figcaption").all_inner_texts()
    assert [text.split(":")[0] for text in captions] == ["C1", "S2", "C3", "S4", "C5", "F6"]
    assert page.locator("canvas:not([aria-label])").count() == 0
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    seen = page.locator("#input canvas").evaluate(
        "c => [...c.getContext('2d').getImageData(0, 0, 28, 28).data].filter((_, i) => i % 4 == 0)"
    )
    assert (np.reshape(seen, (28, 28)).max(1) > 127).sum() in (19, 20)  # rows with ink


@pytest.mark.slow
@pytest.mark.parametrize("page", [{"has_touch": True}], indirect=True, ids=["touch"])
def test_a_seven_drawn_with_a_finger_and_the_keys(page):
    finger = page.context.new_cdp_session(page)

    def touch(kind, *points):
        at = [{"x": x, "y": y} for x, y in points]
        finger.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": at})

    first, *others = places(page)
    touch("touchStart", first)
    before = first
    for place in others:
        for i in range(1, 9):
            touch(
                "touchMove", tuple(a + (b - a) * i / 8 for a, b in zip(before, place, strict=True))
            )
        before = place
    touch("touchEnd")
    answered(page, "7 (")

    page.keyboard.press("Tab")
    page.keyboard.press("ArrowDown")
    assert page.locator("#network").input_value() == "lenet5_mnist"
    page.wait_for_function("() => document.getElementById('codes').hidden")
    answered(page, "7 (")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    answered(page, "Draw")
    assert page.locator("#inside").is_hidden()
