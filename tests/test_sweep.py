"""The sweeps of chapter 10 and appendix A under Snakemake: killed, resumed, and changed."""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from lib.chapters import preset_values
from lib.ledger import ROOT

# How often the sweep is killed; more by hand: KILLS=20.
KILLS = int(os.environ.get("KILLS", "1"))
OWN = ROOT / ".venv" / "sweep" / "bin"
SNAKEMAKE = shutil.which("snakemake", path=os.pathsep.join([str(OWN), os.environ["PATH"]]))
needs_snakemake = pytest.mark.skipif(
    SNAKEMAKE is None, reason="Snakemake is not installed: make sweep installs it"
)


def _command(folder, *arguments, **changes):
    values = {"schemes": "het_before grey", "protocols": "code", "folder": str(folder)}
    # Of the last job, as those of two dictionaries are.
    values["unframed_seeds"] = 0
    return _snakemake(values | changes, *arguments)


def _snakemake(values, *arguments):
    config = ["preset=smoke", f"python={sys.executable}", f"parameters={json.dumps(values)}"]
    return [SNAKEMAKE, "-c2", "--scheduler", "greedy", *arguments, "--config", *config]


def _jobs(folder, *arguments, **changes):
    """How often a run of Snakemake starts each rule."""
    return _started(_command(folder, *arguments, **changes))


def _started(command):
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    started = re.findall(r"^(?:local)?rule (\w+):", done.stdout + done.stderr, re.MULTILINE)
    return {rule: started.count(rule) for rule in set(started)}


def _results(folder):
    found = {path.name: json.loads(path.read_text()) for path in folder.glob("cells/*.json")}
    return {name: result | {"seconds": 0} for name, result in found.items()}


def _kill_sweep(folder, due):
    return _kill(_command(folder), due)


def _kill(command, due):
    """Start a sweep, kill all of it when `due` says so; seconds until then."""
    killed = subprocess.Popen(
        command,
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    start = time.monotonic()
    try:
        while killed.poll() is None and not due(time.monotonic() - start):
            assert time.monotonic() < start + 300
            time.sleep(0.05)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(killed.pid, signal.SIGKILL)
        killed.wait()
    return time.monotonic() - start


@needs_snakemake
def test_a_killed_sweep_loses_no_cell_and_a_change_runs_what_depends_on_it(
    tmp_path, record_property
):
    folder = tmp_path / "a sweep"
    _kill_sweep(folder, lambda _: list(folder.glob("cells/*.json")))
    # Kernels notice within a second that their parent is gone.
    time.sleep(2)
    before = {path: path.stat().st_mtime_ns for path in folder.glob("cells/*.json")}
    _results(folder)
    assert 1 <= len(before) < 3
    jobs = _jobs(folder)
    assert jobs["cell"] <= 3 - len(before) + 1
    assert jobs["collect"] == 1
    # Not even those whose jobs were killed after they had been trained.
    assert all(path.stat().st_mtime_ns == then for path, then in before.items())
    resumed = _results(folder)
    assert len(resumed) == 3
    collected = json.loads((folder / "collected" / "10_resnet.custom.json").read_text())
    assert collected["values"]["cls-raw"]["het_before"] >= 0

    # Then killed at any moment, from codes to the last cell; each time what is there is whole.
    rng = np.random.default_rng(0)
    after = []
    for _ in range(KILLS - 1):
        if len(list(folder.glob("cells/*.json"))) == 3:
            shutil.rmtree(folder)
        seconds = rng.uniform(1, 30)
        after.append(_kill_sweep(folder, lambda passed, due=seconds: passed > due))
        time.sleep(2)
        if (folder / "cells").exists():
            assert all(resumed[name] == result for name, result in _results(folder).items())
    if after:
        _jobs(folder)
        assert _results(folder) == resumed

    shutil.copytree(folder / "codes", tmp_path / "whole" / "codes")
    start = time.monotonic()
    assert _jobs(tmp_path / "whole")["cell"] == 3
    seconds = time.monotonic() - start
    record_property("sweep_killed_after_share", [passed / seconds for passed in after])
    assert _results(tmp_path / "whole") == resumed

    assert _jobs(folder) == {}
    assert _jobs(folder, "-n", epochs=2) == {"cell": 3, "collect": 1}
    assert _jobs(folder, "-n", cutoffs="0 0.5 0.25") == {"cell": 1, "collect": 1}
    assert _jobs(folder, "-n", n_seeds=2) == {"cell": 3, "collect": 1}
    assert _jobs(folder, "-n", text_share=0.25) == {"collect": 1}
    assert _jobs(folder, "-n", cutoffs="0 0.5 0.00001") == {"cell": 1, "collect": 1}
    # Grey pixels are read at `input_size`, and coded at none.
    assert _jobs(folder, "-n", size=20) == {"encode": 1, "cell": 2, "collect": 1}
    assert _jobs(folder, "-n", n_train=50) == {"encode": 1, "cell": 3, "collect": 1}


@needs_snakemake
def test_jobs_run_again_when_dictionaries_versions_or_a_source_change(tmp_path):
    """On a copy of what the workflow reads, with a program in Python's place that trains none."""
    for part in ("workflow", "book/presets", "lib"):
        shutil.copytree(ROOT / part, tmp_path / part)
    source, learned = tmp_path / "own.npz", tmp_path / "book/results/07_learning.default.npz"
    version = tmp_path / "lib" / "_networks.py"
    learned.parent.mkdir()
    for path in (source, learned):
        path.write_text("first")
    stub = tmp_path / "stub"
    stub.write_text(
        "#!/bin/sh\nfor last; do :; done\n"
        'mkdir -p "$last" && touch "$last"/10_resnet.custom.ipynb\n'
    )
    stub.chmod(0o755)
    command = _command("sweep", source=str(source), cutoffs="0")
    command = [part.replace(f"python={sys.executable}", f"python={stub}") for part in command]

    def jobs():
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stdout + done.stderr
        return re.findall(r"^(?:local)?rule (\w+):", done.stdout + done.stderr, re.MULTILINE)

    everything = ["cell", "cell", "collect", "encode"]
    assert sorted(jobs()) == everything
    assert jobs() == []
    for path in (learned, source, version):
        text = path.read_text()
        path.write_text(re.sub("^VERSION = .*|first", "VERSION = 99", text, flags=re.MULTILINE))
        assert sorted(jobs()) == everything, path


@needs_snakemake
@pytest.mark.skipif(
    not list(OWN.parent.glob("lib/python*/site-packages/snakemake_executor_plugin_slurm")),
    reason="the SLURM executor is not installed: make sweep installs it",
)
@pytest.mark.parametrize("device", ["cuda", "cpu"])
def test_slurm_profile_asks_for_what_jobs_need(tmp_path, monkeypatch, device):
    """A command sbatch that writes down what it is asked for, and fails."""
    asked = tmp_path / "asked"
    for name in ("sbatch", "squeue", "sacct", "scancel", "sinfo", "scontrol", "sacctmgr"):
        command = tmp_path / "bin" / name
        command.parent.mkdir(exist_ok=True)
        told = f'echo "$@" >> {asked}; exit 1' if name == "sbatch" else "exit 0"
        command.write_text(f"#!/bin/sh\n{told}\n")
        command.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    arguments = ["--workflow-profile", "workflow/profiles/slurm"]
    arguments += ["--slurm-init-seconds-before-status-checks", "1"]
    folder = tmp_path / "a folder"
    command = _command(folder, *arguments, schemes="grey", device=device)
    command.remove("-c2")
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode != 0
    assert asked.exists(), done.stdout + done.stderr
    sent = asked.read_text()
    assert "-p gpu" in sent
    assert "cell:scheme=grey,protocol=code,cutoff=0,seed=42" in sent
    assert ("--gres=gpu:1" in sent) == (device == "cuda")
    assert f"--out  '{folder}/runs'/grey-code-c0-s42" in done.stdout + done.stderr


@needs_snakemake
def test_points_of_the_scan_are_reruns_that_outlive_a_kill(tmp_path):
    def command(*arguments, **changes):
        return _snakemake(
            {"folder": str(tmp_path)} | changes, "-s", "workflow/scan.smk", *arguments
        )

    def points():
        found = {path.name: json.loads(path.read_text()) for path in tmp_path.glob("points/*")}
        return {name: result | {"seconds": 0} for name, result in found.items()}

    _kill(command(), lambda _: list(tmp_path.glob("points/*.json")))
    time.sleep(2)
    before = points()
    assert 1 <= len(before) < 6
    # Beside what is missing, at most the two points whose jobs were not quite done.
    jobs = _started(command())
    assert 6 - len(before) <= jobs["point"] <= 6 - len(before) + 2
    assert jobs["collect"] == 1
    whole = points()
    assert len(whole) == 6
    assert all(whole[name] == result for name, result in before.items())
    collected = json.loads((tmp_path / "collected" / "a_parameter_scan.custom.json").read_text())
    assert collected["values"]["app-scan"]["n_settings"] == 6

    # The same as in one rerun.
    given = ["-p", "folder", str(tmp_path / "alone"), "--out", str(tmp_path / "alone")]
    rerun = ["rerun", "appendix/a_parameter_scan", "--preset", "smoke", *given]
    subprocess.run([sys.executable, "-m", "lib.book", *rerun], cwd=ROOT, check=True, timeout=300)
    alone = json.loads((tmp_path / "alone" / "a_parameter_scan.custom.json").read_text())
    assert alone["values"] == collected["values"]

    assert _started(command()) == {}
    more = {"lambdas": "0.01 0.1 1", "numbers": "24 36"}
    assert _started(command("-n", **more)) == {"point": 2, "collect": 1}
    assert _started(command("-n", n_steps=3)) == {"point": 6, "collect": 1}


@needs_snakemake
def test_unknown_parameters_are_refused(tmp_path):
    command = _command(tmp_path, "-n", epoch=3)
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode != 0
    assert "got epoch" in done.stdout + done.stderr


def test_every_parameter_that_matters_is_in_a_jobs_command():
    text = (ROOT / "workflow" / "Snakefile").read_text()
    chosen = {"preset", "seed", "schemes", "protocols", "cutoffs", "n_seeds"}
    # Of the last job, which has all schemes.
    chosen |= {"long_epochs", "unframed_seeds"}
    for name in set(preset_values("10_resnet", "smoke")) - chosen:
        assert f'"{name}"' in text, name


@needs_snakemake
@pytest.mark.parametrize(("device", "held"), [("cpu", 0), ("cuda", 1)])
@pytest.mark.parametrize("workflow", ["Snakefile", "scan.smk"])
def test_a_job_on_a_gpu_holds_it_alone(tmp_path, workflow, device, held):
    values = {"device": device, "folder": str(tmp_path)}
    arguments = ["-s", f"workflow/{workflow}", "-n"]
    done = subprocess.run(
        _snakemake(values, *arguments), cwd=ROOT, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    jobs = re.findall(r"^rule (\w+):", done.stdout, re.MULTILINE)
    resources = re.findall(r"\bdevice=(\d+)", done.stdout)
    assert len(jobs) > 3
    assert resources == [str(held)] * len(jobs)
