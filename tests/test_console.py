"""Lines for the user."""

import pytest

from lenet_alexnet.runtime import console


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.4, "0 s"),
        (48, "48 s"),
        (119.6, "2 min"),
        (7169, "119 min"),
        (7171, "2 h 0 min"),
        (12_000, "3 h 20 min"),
        (190_800, "2 d 5 h"),
    ],
)
def test_a_duration_reads_at_a_glance(seconds, text):
    assert console.duration(seconds) == text
