"""The documents that tests read."""

from tests.helpers import ROOT

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(ROOT.glob("docs/*.md"))]
EXPERIMENTS = sorted(ROOT.glob("experiments/**/*.md"))
GENERATED = {"config_keys.md", "commands.md", "api/index.md"}  # by docs/generate/
