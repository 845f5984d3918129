"""Folders for platforms that grade: written by one command, to be looked over."""

from __future__ import annotations

from pathlib import Path

from .stages import STAGES

# Neither has been tried on the real platform.

SETUP = """\
#!/usr/bin/env bash
# Gradescope runs this once, to build the image. Put a copy of microgrand beside it.
set -euo pipefail
apt-get update && apt-get install -y python3 python3-pip python3-venv
python3 -m venv /autograder/venv
/autograder/venv/bin/pip install "/autograder/source/microgrand[course]"
"""

RUN = """\
#!/usr/bin/env bash
# Gradescope runs this for each submission. Change the seed: it decides about the hidden cases.
export MG_SEED=20240101
cd /autograder/submission
/autograder/venv/bin/python -m microgrand.course grade mygrad.py --seed-env MG_SEED \\
    --weights /autograder/source/weights.json --format gradescope \\
    --out /autograder/results/results.json || true
"""

WORKFLOW = """\
name: course
on: [push]
jobs:
  grade:
    runs-on: ubuntu-latest
    steps:
      - uses: actions/checkout@v4
      - uses: actions/setup-python@v5
        with: {{python-version: "3.12"}}
      - run: pip install "./microgrand[course]"
{steps}
"""

STEP = """\
      - name: Stage {number}, {name}
        if: always()
        run: python -m microgrand.course grade mygrad.py --stages {number} --format github"""


def weights() -> str:
    """Return points for each stage, to be changed."""
    lines = ",\n".join(f'  "{n}": {sum(p.points for p in s.properties)}' for n, s in STAGES.items())
    return "{\n" + lines + "\n}\n"


def workflow() -> str:
    """Return a workflow with a step for each stage."""
    steps = "\n".join(STEP.format(number=n, name=s.name) for n, s in STAGES.items())
    return WORKFLOW.format(steps=steps)


TEMPLATES = {
    "gradescope": {
        "gradescope/setup.sh": lambda: SETUP,
        "gradescope/run_autograder": lambda: RUN,
        "gradescope/weights.json": weights,
    },
    "github": {".github/workflows/course.yml": workflow},
}


def write_template(name: str, folder: Path) -> list[Path]:
    """Write the files of a template, and return their paths; those that are there are left."""
    written = []
    for path, content in TEMPLATES[name].items():
        target = folder / path
        if target.exists():
            print(f"{target} is there already, and left as it is.")
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(content(), encoding="utf-8", newline="\n")
        if target.suffix in (".sh", ""):
            target.chmod(0o755)
        written.append(target)
    return written
