"""The documents: paths and links lead somewhere, numbers are those of the records."""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from lenet_alexnet import config as configs
from lenet_alexnet.config import options
from lenet_alexnet.reproduce import records
from tests.helpers import ROOT
from tests.helpers.doc_pages import EXPERIMENTS, GENERATED, PAGES

# Files written by runs and sweeps, and files of other projects.
LEFT = {
    "config.json",
    "run.json",
    "metrics.jsonl",
    "metrics.csv",
    "wandb.json",
    "mlflow.json",
    "step_sizes.jsonl",
    "back_off.jsonl",
    "wall_time.jsonl",
    "stuck_0.txt",
    "stuck_1.txt",
    "report.html",
    "summary.json",
    "end.json",
    "statistics.npz",
    "manifest.json",
    "results.csv",
    "seen.png",
    "my_digit.png",
    "layers-19pct.cfg",
    "layers-145.cfg",
    "layer-params-145.cfg",
}
FOLDERS = r"(?:lenet_alexnet|configs|experiments|tests|docs)"
SUFFIX = r"\.(?:py|cc|md|sh|sbatch|csv|png|json|txt|npz|toml|cff)"
ALL_PAGES = [*PAGES, ROOT / "CHANGELOG.md", *EXPERIMENTS]


def exists(path: Path, name: str) -> bool:
    """Whether a name in a document is a file or folder in one of the usual places."""
    if re.fullmatch(r"experiments/\d{3}", name):
        name += "_*"
    places = (ROOT, path.parent, ROOT / "lenet_alexnet", ROOT / "docs", ROOT / "configs")
    return any(
        list(place.glob(name)) if "*" in name else (place / name).exists() for place in places
    )


@pytest.mark.parametrize("path", ALL_PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_named_paths_exist(path):
    text = path.read_text()
    names = set(re.findall(rf"(?<![\w/.<-]){FOLDERS}/[\w./*-]*[\w*/]", text))
    names |= set(re.findall(rf"`([\w./*-]+{SUFFIX})`", text))
    missing = {
        name
        for name in names
        if name not in LEFT
        and "NNN" not in name
        and "NAME" not in name
        and not exists(path, name)
        and not exists(path, f"*/{name}")
    }
    assert not missing


@pytest.mark.parametrize("path", ALL_PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(path):
    text = re.sub(r"```.*?```", "", path.read_text(), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s#]+)(?:#[^)]*)?\)", text):
        generated = path.parent == ROOT / "docs" and target in GENERATED
        assert generated or "://" in target or (path.parent / target).exists(), target


def test_readme_is_short():
    assert (ROOT / "README.md").stat().st_size <= 10 * 1024


def test_readme_results_are_those_of_the_records():
    rows = re.findall(
        r"^\| \[\w+\]\(configs/(\w+\.py)\) \| `(\w+)` \| (\S.*?) \| (\d+) \|.*\(experiments/(\w+)/",
        (ROOT / "README.md").read_text(),
        re.MULTILINE,
    )
    assert len(rows) == 11
    for config, name, error, n, experiment in rows:
        table = records.table(records.read(ROOT / "experiments" / experiment / "results.csv"))
        (cells,) = [
            [cell.strip() for cell in line.split("|")[1:-1]]
            for line in table.splitlines()
            if line.startswith(f"| {name} |")
        ]
        assert (cells[2], cells[3]) == (error, n)
        assert (ROOT / "configs" / config).is_file()


def reference():
    """docs/generate/config_keys.py as a module."""
    file = ROOT / "docs" / "generate" / "config_keys.py"
    spec = importlib.util.spec_from_file_location("config_keys", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_config_reference_has_every_key_with_a_description():
    rows = re.findall(r"^\| `([\w.]+)` \| `(.*?)` \| (.*) \|$", reference().page(), re.MULTILINE)
    described = {key: text for key, _, text in rows}
    assert all(described.values()), [key for key, text in described.items() if not text]
    files = [path for path in ROOT.glob("configs/**/*.py") if path.name != "__init__.py"]
    for path in files:
        for key in options.every(configs.load(str(path)).get_config()):
            chosen = key in ("model.name", "optimizer.name", "optimizer.learning_rate")
            nested = re.match(
                r"optimizer\.(layers|bias_schedule|layer_decay|layer_rate|plateau)\b", key
            )
            assert chosen or nested or key in described, (path.name, key)


@pytest.mark.slow
def test_the_site_builds_without_warnings(tmp_path):
    pytest.importorskip("mkdocs", reason="make docs installs it")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet"]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1", "JAX_PLATFORMS": "cpu"}
    result = subprocess.run(
        [*command, f"--site-dir={tmp_path}"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert result.returncode == 0, result.stderr
    assert not result.stderr
    page = (tmp_path / "architecture.html").read_text()
    assert "lenet_alexnet.training.step" in page
    outside = re.findall(r'(?:src|<link[^>]*href)="(https?://[^"]+)"', page)
    assert not outside  # readable offline
