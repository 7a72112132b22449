"""Does another processor give the book's numbers? For the appendix "How it is tested".

``python tests/processor.py OUT.json`` executes the chapters as a processor of 2008 would, with the
instructions of that time in NumPy, MKL, OpenBLAS, oneDNN, PyTorch and the C library and with one
thread, and lays what they record and print beside what is stored.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nbformat

from lib import chapters, ledger, provenance
from lib._files import write_bytes

OLD = {
    "ATEN_CPU_CAPABILITY": "default",
    "GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX2,-FMA,-AVX512F",
    "MKL_CBWR": "COMPATIBLE",
    "NPY_DISABLE_CPU_FEATURES": "X86_V3 X86_V4",
    "OMP_NUM_THREADS": "1",
    "ONEDNN_MAX_CPU_ISA": "SSE41",
    "OPENBLAS_CORETYPE": "Nehalem",
}


def checked(notebook):
    """Texts of the outputs that `make test` compares."""
    return [
        "".join(out.get("text", "") for out in cell.outputs if out.get("name") == "stdout")
        for cell in notebook.cells
        if "nbval-check-output" in cell.metadata.get("tags", [])
    ]


def beside(chapter, folder):
    """Execute a chapter as an old processor would; how far it is from what is stored."""
    command = [sys.executable, "-m", "lib.book", "rerun", chapter, "--out", str(folder)]
    subprocess.run(command, env=os.environ | OLD, check=True, capture_output=True)
    (stored,) = (
        result["values"]
        for (name, preset), result in ledger.load_results().items()
        if (name, preset) == (chapter, "default")
    )
    path = next(folder.glob("*.json"))
    found = json.loads(path.read_text(encoding="utf-8"))["values"]
    pairs = {
        (claim, name): (value, found[claim][name])
        for claim, values in stored.items()
        for name, value in values.items()
    }
    # As `ledger.compare` does: zeros that are rounding errors are no values.
    apart = {key: max(0.0, abs(b - a) - 1e-9) / max(abs(a), 1e-9) for key, (a, b) in pairs.items()}
    known = ledger.load_claims()
    ours = checked(chapters.read(chapter))
    theirs = checked(nbformat.read(next(folder.glob("*.ipynb")), as_version=4))
    return {
        "values": len(apart),
        "largest_difference": max(apart.values()),
        "beyond_tolerance": [" ".join(key) for key, value in apart.items() if value > 1e-3],
        "verdicts_changed": [
            claim
            for claim in stored
            if ledger.judge(known[claim], stored[claim]) != ledger.judge(known[claim], found[claim])
        ],
        "outputs": len(ours),
        "outputs_changed": sum(a != b for a, b in zip(ours, theirs, strict=True)),
    }


def main():
    """Execute, compare and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--chapters", nargs="+")
    options = parser.parse_args()
    measured = [
        chapter
        for (chapter, preset), result in ledger.load_results().items()
        if preset == "default" and result["values"]
    ]
    stored_only = {
        name
        for name in chapters.chapters()
        if chapters.read(name).metadata.get("mystnb", {}).get("execution_mode") == "off"
    }
    names = options.chapters or sorted(set(measured) - stored_only)
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(options.jobs) as pool:
        places = [Path(folder) / name for name in names]
        rows = dict(zip(names, pool.map(beside, names, places), strict=True))
    result = {"provenance": provenance.collect(), "environment": OLD, "chapters": rows}
    write_bytes(options.out, (json.dumps(result, indent=1) + "\n").encode())


if __name__ == "__main__":
    main()
