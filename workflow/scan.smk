"""Points of appendix A side by side: snakemake -s workflow/scan.smk -c2, or with a --profile.

Each job is a rerun of the appendix at one point, which leaves a small file in points/; the last
one reruns the appendix on all of them. What is there and still fits its parameters is not measured
again. Snakemake removes the outputs of a job that did not end well: it sees marks in done/ alone.
"""


include: "common.smk"


CHAPTER = "appendix/a_parameter_scan"
VALUES, NAME = chapter_values(CHAPTER)
FOLDER = VALUES["folder"]
RUNS = quote(f"{FOLDER}/runs")
STATE = state(VALUES)
# The field of a setting that each list of values is of, in the order in which files are named.
FIELDS = {
    "lambdas": "lmbda",
    "iterations": "max_iter",
    "relaxations": "relax",
    "sizes": "atom_size",
    "numbers": "n_atoms",
}
ONE = VALUES | dict.fromkeys(FIELDS, "")


def points():
    """Settings by the name of their file: the chosen one, and those with one value changed."""
    chosen = {field: VALUES[field] for field in FIELDS.values()}
    settings = [chosen]
    for values, field in FIELDS.items():
        settings += [
            chosen | {field: type(chosen[field])(value)} for value in VALUES[values].split()
        ]
    return {"-".join(f"{x:g}" for x in setting.values()): setting for setting in settings}


POINTS = points()


rule collect:
    input:
        expand(f"{FOLDER}/done/{{point}}", point=POINTS),
    output:
        f"{FOLDER}/collected/a_parameter_scan.{NAME}.ipynb",
    params:
        run=rerun(CHAPTER, VALUES),
        state=STATE,
    threads: config["threads"]
    resources:
        device=gpus(VALUES),
        gres=gres(VALUES),
    shell:
        "OMP_NUM_THREADS={threads} {params.run} $(dirname {output:q})"


rule point:
    output:
        touch(f"{FOLDER}/done/{{point}}"),
    params:
        run=lambda w: rerun(CHAPTER, ONE | POINTS[w.point]),
        state=STATE,
    threads: config["threads"]
    resources:
        device=gpus(VALUES),
        gres=gres(VALUES),
    shell:
        "OMP_NUM_THREADS={threads} {params.run} {RUNS}/{wildcards.point}"
