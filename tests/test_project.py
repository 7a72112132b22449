"""The project's own files agree with one another."""

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from lib import provenance
from lib.ledger import ROOT


@pytest.fixture(scope="module")
def project():
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


@pytest.fixture(scope="module")
def pins():
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    return [Requirement(line) for line in lines if line and not line.startswith("#")]


def test_everything_is_pinned_and_names_no_host(pins):
    for pin in pins:
        (specifier,) = pin.specifier
        assert specifier.operator == "==", pin
        assert pin.url is None
    text = (ROOT / "requirements.txt").read_text()
    assert "://" not in text
    assert "index-url" not in text


def test_every_dependency_is_pinned_within_its_range(project, pins):
    pinned = {}
    for pin in pins:
        pinned.setdefault(pin.name.lower(), []).append(next(iter(pin.specifier)).version)
    wanted = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
    for text in wanted:
        requirement = Requirement(text)
        versions = pinned[requirement.name.lower()]
        assert all(version in requirement.specifier for version in versions), text


def test_torch_and_torchvision_are_the_pair_that_works(pins):
    versions = {pin.name: str(pin.specifier) for pin in pins}
    assert (versions["torch"], versions["torchvision"]) == ("==2.12.0", "==0.27.0")


def test_conda_environment_only_delegates(project):
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    *plain, pip = environment["dependencies"]
    assert pip == {"pip": ["-r requirements.txt"]}
    python = next(item for item in plain if item.startswith("python=")).split("=")[1]
    assert python in SpecifierSet(project["requires-python"])


def test_what_is_installed_is_what_is_pinned(pins):
    from importlib.metadata import version

    for pin in pins:
        if pin.marker is None or pin.marker.evaluate():
            assert version(pin.name) in pin.specifier, pin


def test_make_help_lists_every_target():
    text = subprocess.run(
        ["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    for target in ("book", "test", "lint", "rerun", "data", "bench", "clean"):
        assert f"\n{target} " in f"\n{text}"


@pytest.mark.parametrize("module", ["lib", "lib.lags", "lib.processes", "lib.cca", "lib.ledger"])
def test_theory_needs_no_heavy_import(module):
    heavy = ("torch", "sporco", "IPython")
    code = f"import sys, {module}; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_importing_the_package_loads_nothing_else():
    code = "import sys; before = set(sys.modules); import lib; print(set(sys.modules) - before)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "{'lib'}"


def test_the_workflow_runs_what_the_readme_names():
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "book.yml").read_text())
    steps = [step.get("run", "") for step in workflow["jobs"]["test"]["steps"]]
    assert ".ci/run" in steps
    assert "make test" in (ROOT / ".ci" / "run").read_text().splitlines()
    assert "make book" in steps
    assert workflow["permissions"] == {"contents": "read"}
    assert workflow["jobs"]["publish"]["if"] == "github.event_name == 'push'"


def test_binder_installs_what_make_installs():
    script = (ROOT / ".binder" / "postBuild").read_text()
    for arguments in ("-r requirements.txt", "--no-deps -e ."):
        assert arguments in script
        assert arguments in (ROOT / "Makefile").read_text()
    assert (ROOT / ".binder" / "postBuild").stat().st_mode & 0o111


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux")
def test_peak_memory_is_that_of_the_process_alone(tmp_path):
    """A small process that a large one starts is small."""
    code = "from lib import provenance; print(provenance.high_water())"
    start = "import subprocess, sys; x = bytearray(3 * 10**8); x[::4096] = x[1::4096]; "
    start += f"subprocess.run([sys.executable, '-c', {code!r}])"
    done = subprocess.run([sys.executable, "-c", start], capture_output=True, text=True, check=True)
    assert 1e7 < float(done.stdout) < 2e8
    taken = code.replace("print", "x = b'1' * 3 * 10**8; print")
    done = subprocess.run([sys.executable, "-c", taken], capture_output=True, text=True, check=True)
    assert 3e8 < float(done.stdout) < 5e8
    status = tmp_path / "status"
    status.write_text("Name:\tpython\nVmPeak:\t 999 kB\nVmHWM:\t  123456 kB\n")
    assert provenance.high_water(status) == 1024 * 123456
    assert provenance.high_water(tmp_path / "none") > 1e7


def test_most_mutants_are_killed_and_it_is_said_why_others_survive():
    checks = json.loads((ROOT / "book" / "checks" / "mutation.json").read_text(encoding="utf-8"))
    assert list(checks["modules"]) == ["lags", "cca", "csc", "ledger"]
    for module, found in checks["modules"].items():
        assert found["killed"] + len(found["survivors"]) == found["mutants"] >= 100
        assert found["killed"] >= 0.85 * found["mutants"], module
        assert all(survivor["why"] for survivor in found["survivors"]), module
