"""``python -m microgrand.course ...``: the commands, or why there are none."""

from __future__ import annotations

import sys

from . import part


def main(arguments: list[str] | None = None) -> int:
    """Run a command; return the exit status, 3 if the course itself cannot be imported."""
    try:
        commands = part("commands")
    except Exception as error:
        print(f"The course cannot be imported. {type(error).__name__}: {error}", file=sys.stderr)
        return 3
    return int(commands.main(arguments))


if __name__ == "__main__":
    sys.exit(main())
