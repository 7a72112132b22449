"""What the sweeps share: a chapter's parameters under a preset, and the command of its rerun."""

import yaml


configfile: "workflow/config.yaml"


PRESET = config["preset"]


def chapter_values(chapter):
    """Parameters of a chapter, with those that the command line changes, and the result's name."""
    with open(f"book/presets/{PRESET}.yaml", encoding="utf-8") as file:
        own = yaml.safe_load(file)[chapter]
    changed = config.get("parameters") or {}
    if unknown := sorted(set(changed) - set(own)):
        raise ValueError(f"parameters must be of {', '.join(own)}, got {unknown[0]}")
    # The command line gives numbers as text.
    values = own | {name: type(own[name])(value) for name, value in changed.items()}
    return values, PRESET if values == own else "custom"


def gpus(values):
    """How many GPUs a job holds: one takes one job at a time, see profiles/default."""
    return int(values["device"] != "cpu")


def rerun(chapter, values):
    """The chapter's rerun. A job runs again when this changes, so it names what matters alone."""
    given = " ".join(f"-p {name} '{value}'" for name, value in values.items())
    return f"{config['python']} -m lib.book rerun {chapter} --preset {PRESET} {given} --out "
