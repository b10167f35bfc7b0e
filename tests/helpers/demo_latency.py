"""How long `lenet-alexnet demo` takes for a stroke: python -m tests.helpers.demo_latency URL NAME.

Start the demo on one core with `taskset -c 0`. Prints the median of 50 requests on one connection,
from the first byte sent to the last one received.
"""

import http.client
import statistics
import sys
import time
from urllib.parse import quote, urlsplit

import numpy as np
from PIL import Image, ImageDraw

from lenet_alexnet.demo.server import BYTES, SIDE

WARM_UP, COUNT = 3, 50


def strokes(rng):
    """A drawing of four straight strokes, as the page sends it."""
    image = Image.new("L", (SIDE, SIDE))
    corners = [tuple(point) for point in rng.uniform(0.2 * SIDE, 0.8 * SIDE, (5, 2))]
    ImageDraw.Draw(image).line(corners, fill=255, width=20, joint="curve")
    return image.tobytes()


def measure(url, name):
    """Milliseconds of each answer."""
    rng, connection = np.random.default_rng(0), http.client.HTTPConnection(urlsplit(url).netloc)
    found = []
    for _ in range(WARM_UP + COUNT):
        body = strokes(rng)
        start = time.perf_counter()
        path = f"/answer?network={quote(name)}"
        connection.request("POST", path, body, {"Content-Type": BYTES})
        answer = connection.getresponse()
        answer.read()
        found.append(1000 * (time.perf_counter() - start))
        assert answer.status == 200
    return found[WARM_UP:]


if __name__ == "__main__":
    times = measure(*sys.argv[1:])
    print(f"median {statistics.median(times):.1f} ms, fastest {min(times):.1f} ms")
