"""Do the tests notice a bug? Mutation testing of `MODULES`, written to book/checks/mutation.json.

mutmut changes one thing at a time, such as < to <=, and runs the tests that reach the changed
function. A mutant that fails no test survives: either it does the same as the original, or a test
is missing. Why, is kept by hand in the file, and stays there as long as the mutant survives.

    python tests/mutants.py                   all mutants, hours
    python tests/mutants.py --sample 150      as many of each module, drawn with --seed

What was tested already is kept in the folder mutants, and a second run goes on from there; remove
the folder after a change of the tests.
"""

import argparse
import json
import random
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

from lib import provenance
from lib._files import write_bytes

ROOT = Path(__file__).resolve().parents[1]
TARGET = ROOT / "book" / "checks" / "mutation.json"
MODULES = ("lags", "cca", "csc", "ledger")


def mutmut(*names):
    subprocess.run([Path(sys.executable).with_name("mutmut"), "run", "--max-children=1", *names])


def run(names):
    """Test the mutants of these names that have not been tested, however often mutmut stops."""
    before = None
    while left := [n for m in MODULES for n, c in load(m).items() if c is None and n in names]:
        if left == before:
            raise SystemExit(f"mutmut does not come on: {len(left)} mutants are left")
        before = left
        mutmut(*left)


def load(module):
    """Exit status of the tests by mutant; None where they have not been run."""
    path = ROOT / "mutants" / "lib" / f"{module}.py.meta"
    return json.loads(path.read_text())["exit_code_by_key"] if path.exists() else {}


def change(module, name):
    """The changed line, and what it was changed to."""
    from mutmut.mutation.diff_apply import get_diff_for_mutant

    diff = get_diff_for_mutant(name, path=Path("lib") / f"{module}.py").splitlines()[2:]
    old, new = (
        " ".join(line[1:].strip() for line in diff if line.startswith(sign)) for sign in "-+"
    )
    return {"line": old, "change": new}


def outcome(module, names, why):
    """Counts and survivors of a module; a mutant whose tests do not end counts as killed."""
    from mutmut.stats import status_by_exit_code

    found = load(module)
    status = {name: status_by_exit_code[found[name]] for name in names if found[name] is not None}
    left = sorted(name for name in status if status[name] not in ("killed", "timeout"))
    survivors = [change(module, name) for name in left]
    for survivor in survivors:
        survivor["why"] = why.get((module, survivor["line"], survivor["change"]), "")
    return {
        "generated": len(found),
        "mutants": len(status),
        "killed": len(status) - len(left),
        "survivors": survivors,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sample", type=int, help="mutants of each module")
    parser.add_argument("--seed", type=int, default=8)
    options = parser.parse_args()
    # Any run makes all mutants.
    mutmut("lib.ledger.x_judge__mutmut_*")
    drawn = {module: sorted(load(module)) for module in MODULES}
    for names in drawn.values():
        random.Random(options.seed).shuffle(names)
        del names[options.sample or len(names) :]
    run(set().union(*drawn.values()))
    before = json.loads(TARGET.read_text())["modules"] if TARGET.exists() else {}
    why = {
        (module, survivor["line"], survivor["change"]): survivor["why"]
        for module, result in before.items()
        for survivor in result["survivors"]
    }
    result = {
        "tool": "mutmut",
        "version": version("mutmut"),
        "provenance": provenance.collect(),
        "modules": {module: outcome(module, names, why) for module, names in drawn.items()},
    }
    write_bytes(TARGET, (json.dumps(result, indent=1, ensure_ascii=False) + "\n").encode())
    for module, found in result["modules"].items():
        print(f"{module}: {found['killed']} of {found['mutants']} mutants killed")


if __name__ == "__main__":
    main()
