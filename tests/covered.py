"""Share of the lines of `lib` that the tests ran through: ``python tests/covered.py OUT.json``.

Reads what ``coverage run`` left, see ``make checks``.
"""

import json
import sys
from pathlib import Path

import coverage

from lib import provenance
from lib._files import write_bytes


def main():
    """Count and write."""
    measured = coverage.Coverage(config_file=str(provenance.ROOT / "pyproject.toml"))
    measured.load()
    counts = {}
    for path in sorted((provenance.ROOT / "lib").glob("*.py")):
        _, statements, _, missing, _ = measured.analysis2(str(path))
        counts[path.stem] = len(statements), len(missing)
    lines, missed = (sum(column) for column in zip(*counts.values(), strict=True))
    result = {
        "provenance": provenance.collect(),
        "lines": lines,
        "share": 1 - missed / lines,
        "modules": {name: 1 - m / n for name, (n, m) in counts.items() if n},
    }
    write_bytes(Path(sys.argv[1]), (json.dumps(result, indent=1) + "\n").encode())


if __name__ == "__main__":
    main()
