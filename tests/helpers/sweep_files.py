"""Config files for sweeps of tiny runs."""

from tests.helpers import ROOT

TINY = f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
from tests.helpers.tiny_configs import make_tiny_config
def get_config():
    return make_tiny_config()
"""


def write(tmp_path, body, name="file.py"):
    path = tmp_path / name
    path.write_text(TINY + body)
    return str(path)
