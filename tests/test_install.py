"""make install checks hashes: the requirements are the constraints with hashes."""

import re
import tomllib

import pytest

from tests.helpers import ROOT

HASH = re.compile(r"--hash=sha256:[0-9a-f]{64}")


def canonical(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def pins(name):
    """{package: (version, number of hashes)} of a file of requirements."""
    text = (ROOT / name).read_text().replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line and line[0] != "#"]
    found = {}
    for line in lines:
        package, version = re.match(r"([\w.-]+)==([\w.]+)", line).groups()
        found[canonical(package)] = version, len(HASH.findall(line))
        assert "://" not in line
    assert len(found) == len(lines)
    return found


@pytest.mark.attack(
    "foreign", "a package of another content under the same version", "each is locked by its hash"
)
@pytest.mark.parametrize("which", ["", "-newest"])
def test_requirements_are_the_constraints_with_hashes(which):
    versions, locked = pins(f"constraints{which}.txt"), pins(f"requirements{which}.txt")
    assert all(hashes for _, hashes in locked.values())
    for package, (version, _) in locked.items():
        assert version == versions.get(package, (version, 0))[0], package
    # Only packages of other systems are not among the tested versions.
    text = (ROOT / f"requirements{which}.txt").read_text()
    for package in locked.keys() - versions.keys():
        assert re.search(rf"^{package}==\S+ ; sys_platform == 'win32'", text, re.MULTILINE), package


def test_the_newest_differ_in_jax_alone():
    tested, newest = pins("constraints.txt"), pins("constraints-newest.txt")
    assert {name for name in tested if tested[name] != newest[name]} == {"jax", "jaxlib"}
    assert tested.keys() == newest.keys()


@pytest.mark.parametrize("which", ["", "-newest"])
def test_everything_that_the_package_and_its_tests_need_is_locked(which):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    extras = project["project"]["optional-dependencies"]
    assert "lenet-alexnet[data]" in extras["dev"]
    wanted = [
        *project["project"]["dependencies"],
        *extras["data"],
        *(text for text in extras["dev"] if text != "lenet-alexnet[data]"),
        *project["build-system"]["requires"],
        "pip",
    ]
    names = {canonical(re.match(r"[\w.-]+", text)[0]) for text in wanted}
    assert names <= pins(f"requirements{which}.txt").keys()


@pytest.mark.attack(
    "foreign", "make install without hashes", "it requires them, and begins with pip"
)
def test_make_install_requires_the_hashes():
    rule = (ROOT / "Makefile").read_text().split("\n$(VENV)/.installed:")[1].split("\n\n")[0]
    installs = [line for line in rule.splitlines() if "$(PIP)" in line]
    assert len(installs) == 3
    assert all("--require-hashes -r" in line for line in installs[:2])
    assert "--no-deps --no-build-isolation -e ." in installs[2]
