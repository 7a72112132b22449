"""Fixtures shared by the tests, and a record of a run for the appendix "How it is tested"."""

import json
import os
import time
from collections import Counter
from pathlib import Path

import matplotlib
import pytest
import torch

matplotlib.use("Agg")
if not torch.cuda.is_available():
    # Before Triton is imported: kernels for a GPU are then interpreted, see test_fused.py.
    os.environ["TRITON_INTERPRET"] = "1"


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    import matplotlib.pyplot as plt

    plt.close("all")


@pytest.fixture
def gpu(monkeypatch):
    """A GPU, or where there is none a pretended one, without kernels of its own."""
    import pretended

    from lib import _atom_bank

    if torch.cuda.is_available():
        # Else convolutions round to ten bits there, as torch does unless it is told not to.
        monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
        yield
    else:
        monkeypatch.setattr(_atom_bank, "_kernels", lambda device: None)
        with pretended.gpu(monkeypatch):
            yield


def pytest_addoption(parser):
    parser.addoption("--record", type=Path, help="write counts and versions to this JSON file")


def pytest_configure(config):
    config.started = time.monotonic()


def pytest_terminal_summary(terminalreporter, config):
    """Write what ran where, and the properties that tests recorded."""
    path = config.getoption("--record")
    # Processes that share the tests know only their own.
    if path is None or hasattr(config, "workerinput"):
        return
    from lib import provenance
    from lib._files import write_bytes

    stats = terminalreporter.stats
    reports = [report for kind in ("passed", "failed") for report in stats.get(kind, [])]
    result = {
        "provenance": provenance.collect(),
        **{kind: len(stats.get(kind, [])) for kind in ("passed", "failed", "error")},
        "skipped": Counter(report.longrepr[2] for report in stats.get("skipped", [])),
        "files": Counter(Path(report.nodeid.split("::")[0]).stem for report in reports),
        "properties": {
            report.nodeid.split("::")[1]: dict(report.user_properties)
            for report in reports
            if report.user_properties
        },
        "seconds": round(time.monotonic() - config.started, 1),
    }
    text = json.dumps(result, indent=1, sort_keys=True) + "\n"
    write_bytes(path, text.encode())
