"""What a chapter's first cell calls; ``python -m lib.book --help`` runs chapters."""

import os
import sys
from pathlib import Path

from lib import chapters
from lib._files import check_folder
from lib.ledger import Run
from lib.provenance import badge, collect


def begin(chapter, *, preset="default", data=None, **parameters):
    """Start a chapter: check its parameters, set the figure style, show the provenance badge.

    Parameters
    ----------
    chapter : str
        The chapter's name, such as ``"01_ou"``.
    preset : str
        The preset that the parameters come from. If they are not its own, results are saved as
        ``custom``.
    data : dict of str to str, optional
        Fingerprints of the data sets used.
    **parameters
        Every parameter of the chapter.

    Returns
    -------
    lib.ledger.Run
        To pass to `lib.ledger.record` and `lib.ledger.save`. Results go to the folder that the
        environment variable BOOK_RESULTS names, else to ``_build/results``.

    Raises
    ------
    ValueError
        A parameter is unknown, missing or of a wrong type.
    OSError
        The folder of the results takes no file.
    """
    import numpy as np
    from IPython.display import HTML, display

    from lib._checks import check_count
    from lib.plotting import use_style

    values = chapters.check_parameters(chapter, parameters)
    missing = set(chapters.parameters(chapter)) - set(values)
    if missing:
        raise ValueError(f"parameters of {chapter} must all be given, misses {sorted(missing)}")
    seeded = "seed" in values
    rng = np.random.default_rng(check_count("seed", values["seed"], 0)) if seeded else None
    if values:
        preset = chapters.preset_name(chapter, preset, values)
    folder = Path(os.environ.get("BOOK_RESULTS") or chapters.BUILD / "results")
    check_folder(folder)
    provenance = collect(data)
    use_style()
    display(HTML(badge(chapter, preset, values, provenance)))
    return Run(chapter, preset, values, provenance, folder, rng=rng)


def own_parameters(chapter, namespace):
    """Pick a chapter's parameters, and `preset`, out of a namespace such as ``globals()``."""
    names = ["preset", *chapters.parameters(chapter)]
    return {name: namespace[name] for name in names if name in namespace}


if __name__ == "__main__":
    # Not above: chapters import this module, and do not depend on what else a command does.
    from lib._commands import main

    sys.exit(main())
