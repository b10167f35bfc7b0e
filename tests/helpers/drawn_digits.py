"""Digits of a plain hand, drawn on paper or a board under a lamp: what users give to `predict`."""

from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw

FINER = 4  # drawn this many times larger, then reduced: antialiased
PAPERS = (0.97, 0.85, 0.72, 0.60)  # share of the light that the paper reflects
# Strokes of each way of writing a digit: corners and curves of points (x, y) in a box of height 1,
# y downwards. A curve goes through its points (Catmull-Rom), a line is straight between them.
C, L = "curve", "line"
HANDS: dict[int, list[list[tuple[str, list[tuple[float, float]]]]]] = {
    0: [
        [(C, [(0.32, 0), (0.1, 0.15), (0, 0.5), (0.1, 0.85), (0.3, 1), (0.52, 0.85), (0.6, 0.5),
              (0.52, 0.15), (0.3, 0.01)])],
        [(C, [(0.4, 0.03), (0.15, 0.1), (0, 0.45), (0.06, 0.8), (0.3, 1), (0.6, 0.8), (0.68, 0.45),
              (0.55, 0.12), (0.33, 0.02)])],
    ],
    1: [[(L, [(0.1, 0), (0.1, 1)])], [(L, [(0, 0.2), (0.2, 0), (0.2, 1)])]],
    2: [
        [(C, [(0.02, 0.24), (0.12, 0.05), (0.32, 0), (0.52, 0.1), (0.56, 0.3), (0.42, 0.58),
              (0.2, 0.82), (0, 1)]), (L, [(0, 1), (0.62, 0.99)])],
        [(C, [(0.03, 0.15), (0.28, 0), (0.52, 0.12), (0.5, 0.42), (0.28, 0.75), (0.02, 0.98)]),
         (L, [(0.02, 0.98), (0.6, 1)])],
    ],
    3: [
        [(C, [(0.04, 0.1), (0.25, 0), (0.48, 0.08), (0.5, 0.28), (0.38, 0.42), (0.2, 0.47)]),
         (C, [(0.2, 0.47), (0.42, 0.52), (0.56, 0.7), (0.48, 0.92), (0.24, 1), (0, 0.9)])],
        [(L, [(0.03, 0), (0.52, 0), (0.24, 0.4)]),
         (C, [(0.24, 0.4), (0.46, 0.47), (0.55, 0.7), (0.42, 0.94), (0.2, 1), (0, 0.92)])],
    ],
    4: [
        [(L, [(0.12, 0), (0, 0.55), (0.6, 0.55)]), (L, [(0.44, 0.18), (0.42, 1)])],
        [(L, [(0.45, 1), (0.45, 0), (0, 0.66), (0.66, 0.66)])],
    ],
    5: [
        [(L, [(0.56, 0), (0.1, 0), (0.06, 0.42)]),
         (C, [(0.06, 0.42), (0.3, 0.36), (0.54, 0.52), (0.54, 0.82), (0.3, 1), (0, 0.92)])],
        [(L, [(0.1, 0.02), (0.05, 0.45)]), (L, [(0.1, 0.02), (0.55, 0)]),
         (C, [(0.05, 0.45), (0.34, 0.4), (0.55, 0.6), (0.48, 0.9), (0.22, 1), (0, 0.93)])],
    ],
    6: [
        [(C, [(0.46, 0), (0.2, 0.2), (0.04, 0.52), (0.06, 0.85), (0.28, 1), (0.52, 0.88),
              (0.54, 0.66), (0.34, 0.52), (0.08, 0.68)])],
        [(C, [(0.3, 0), (0.1, 0.3), (0.02, 0.65), (0.12, 0.94), (0.36, 0.98), (0.52, 0.78),
              (0.42, 0.58), (0.2, 0.6), (0.06, 0.8)])],
    ],
    7: [
        [(L, [(0, 0), (0.58, 0), (0.2, 1)])],
        [(L, [(0, 0.02), (0.56, 0)]), (C, [(0.56, 0), (0.36, 0.4), (0.24, 1)])],
        [(L, [(0, 0), (0.58, 0), (0.2, 1)]), (L, [(0.15, 0.5), (0.55, 0.48)])],
    ],
    8: [
        [(C, [(0.5, 0.12), (0.28, 0), (0.08, 0.12), (0.1, 0.32), (0.3, 0.48), (0.52, 0.66),
              (0.54, 0.88), (0.28, 1), (0.04, 0.88), (0.06, 0.66), (0.28, 0.48), (0.48, 0.3),
              (0.5, 0.12)])],
        [(C, [(0.28, 0), (0.08, 0.12), (0.1, 0.34), (0.28, 0.45), (0.46, 0.34), (0.48, 0.12),
              (0.28, 0)]),
         (C, [(0.28, 0.45), (0.04, 0.6), (0.04, 0.88), (0.28, 1), (0.54, 0.88), (0.52, 0.6),
              (0.28, 0.45)])],
    ],
    9: [
        [(C, [(0.5, 0.12), (0.26, 0), (0.04, 0.14), (0.06, 0.4), (0.28, 0.5), (0.48, 0.34),
              (0.52, 0.1)]), (C, [(0.52, 0.1), (0.5, 0.5), (0.44, 1)])],
        [(C, [(0.5, 0.2), (0.3, 0), (0.06, 0.14), (0.08, 0.42), (0.32, 0.48), (0.5, 0.2)]),
         (C, [(0.5, 0.2), (0.5, 0.7), (0.38, 0.95), (0.1, 0.98)])],
    ],
}  # fmt: skip


class Drawing(NamedTuple):
    """A drawn digit: grey levels 0..255 of shape [h, w], and how it was drawn."""

    pixels: np.ndarray
    digit: int
    pen: float  # share of the image's height
    falloff: float  # share of the light lost at the darkest place
    paper: float
    chalk: bool  # light strokes on a dark board


def drawings(seed: int, number: int, **fixed) -> list[Drawing]:
    """All digits in turn; pens, light, papers and polarities over their whole ranges, mixed."""
    rng = np.random.default_rng(seed)
    pens = rng.permutation(np.linspace(0.03, 0.12, number))
    falloffs = rng.permutation(np.linspace(0, 0.45, number))
    found = []
    for i in range(number):
        how = {
            "pen": pens[i], "falloff": falloffs[i], "paper": PAPERS[i // 10 % len(PAPERS)],
            "chalk": bool((i // 10 + i) % 2),
        }  # fmt: skip
        found.append(draw(i % 10, rng, **(how | fixed)))
    return found


def draw(digit: int, rng, *, pen: float, falloff: float, paper: float, chalk: bool) -> Drawing:
    """One digit, 200 to 400 pixels high, somewhere near the middle."""
    height = int(rng.integers(200, 401))
    width = int(height * rng.uniform(0.85, 1.2))
    hand = HANDS[digit][rng.integers(len(HANDS[digit]))]
    strokes = [
        _jitter(_curve(points) if kind == C else np.array(points), rng) for kind, points in hand
    ]
    ink = _ink(_place(strokes, rng, height, width), pen * height, height, width)
    light = _light(rng, height, width, falloff)
    ground, stroke = (
        (1 - paper, rng.uniform(0.8, 0.97)) if chalk else (paper, rng.uniform(0.1, 0.35))
    )
    grain = rng.normal(0, rng.uniform(0.004, 0.02), (height, width))
    grey = light * (ground + (stroke - ground) * ink + grain)
    pixels = np.rint(255 * grey).clip(0, 255).astype(np.uint8)
    return Drawing(pixels, digit, pen, falloff, paper, chalk)


def _curve(points: list[tuple[float, float]]) -> np.ndarray:
    """A Catmull-Rom spline through the points, 16 steps between two."""
    p = np.array([points[0], *points, points[-1]])
    t = np.linspace(0, 1, 16)[:, None]
    a, b, c, d = p[:-3, None], p[1:-2, None], p[2:-1, None], p[3:, None]
    path = b + t / 2 * (c - a + t * (2 * a - 5 * b + 4 * c - d + t * (3 * b - a - 3 * c + d)))
    return path.reshape(-1, 2)


def _jitter(path: np.ndarray, rng) -> np.ndarray:
    """The path bent by waves of a few hundredths of the digit's height, so that joints move too."""
    wave = rng.normal(0, 0.02, (2, 2, 2))
    x, y = path.T
    return path + sum(
        np.outer(np.sin(3 * (x if k else y) + rng.uniform(0, 6)), wave[k, 0])
        + np.outer(np.cos(6 * y), wave[k, 1] / 2)
        for k in (0, 1)
    )


def _place(strokes, rng, height: int, width: int) -> list[np.ndarray]:
    """The strokes slanted, turned a little, and scaled to 55 to 75 % of the image's height."""
    slant, turn = rng.uniform(-0.05, 0.3), np.deg2rad(rng.uniform(-6, 6))
    shape = np.array([[rng.uniform(0.85, 1.2), 0], [-slant, 1]])  # x from x and y; y
    shape = shape @ [[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]]
    strokes = [stroke @ shape for stroke in strokes]
    points = np.concatenate(strokes)
    low, high = points.min(0), points.max(0)
    scale = min(rng.uniform(0.55, 0.75) * height / (high - low)[1], 0.8 * width / (high - low)[0])
    middle = np.array([width, height]) * (0.5 + rng.uniform(-0.04, 0.04, 2))
    return [(stroke - (low + high) / 2) * scale + middle for stroke in strokes]


def _ink(strokes, pen: float, height: int, width: int) -> np.ndarray:
    """How much of each pixel is covered, 0..1: a round pen along the strokes."""
    image = Image.new("L", (width * FINER, height * FINER))
    draw, radius = ImageDraw.Draw(image), pen * FINER / 2
    for stroke in strokes:
        for a, b in zip(stroke[:-1] * FINER, stroke[1:] * FINER, strict=True):
            steps = 2 + int(np.hypot(*(b - a)) / max(1, radius / 4))
            for x, y in np.linspace(a, b, steps):
                draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=255)
    return np.asarray(image.resize((width, height), Image.Resampling.BOX)) / 255


def _light(rng, height: int, width: int, falloff: float) -> np.ndarray:
    """A lamp near or far to one side: 1 at the brightest place, 1 - falloff at the darkest."""
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    angle = rng.uniform(0, 2 * np.pi)
    far = x * np.cos(angle) + y * np.sin(angle)
    if rng.random() < 0.5:
        far = np.hypot(x - 1.2 * np.cos(angle), y - 1.2 * np.sin(angle))
    far = (far - far.min()) / np.ptp(far)
    return 1 - falloff * far
