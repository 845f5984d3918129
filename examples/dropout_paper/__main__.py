"""The dropout paper's experiments, repeated: one command for each of its claims.

N. Srivastava, G. Hinton, A. Krizhevsky, I. Sutskever and R. Salakhutdinov (2014), "Dropout: A
Simple Way to Prevent Neural Networks from Overfitting", JMLR 15, 1929-1958.

Each experiment prints what the paper found, a table of what was found here, and for each claim
whether the numbers agree with it; and it draws a picture. Nets are compared in pairs that begin
with the same weights and see the same examples. Finished runs are kept in a file: an interrupted
command resumes where it stopped when you give it again.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

# Matrices this small gain nothing from threads, which wait for each other in a busy loop.
os.environ.setdefault("OMP_NUM_THREADS", "1")

if not __package__:  # run as `python examples/dropout_paper`: import it from the folder above
    sys.path[0] = str(Path(__file__).parents[1])

from shared import DATA_HELP

from dropout_paper import (
    averaging,
    calibration,
    conv,
    ensemble,
    features,
    maxnorm,
    rate,
    size,
    training,
)
from dropout_paper.report import draw, report
from dropout_paper.runs import Store, finish

EXPERIMENTS = {
    "rate": rate,
    "size": size,
    "features": features,
    "averaging": averaging,
    "maxnorm": maxnorm,
    "ensemble": ensemble,
    "calibration": calibration,
    "conv": conv,
}


def main(argv: Sequence[str] | None = None) -> None:
    """Run one experiment or all; exit with a message if an option is impossible."""
    parser = argparse.ArgumentParser(
        prog="dropout_paper",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="EXPERIMENT")
    for name, experiment in [*EXPERIMENTS.items(), ("all", None)]:
        text = experiment.__doc__ if experiment else "All of them, one after the other."
        seeds, steps = (experiment.SEEDS, experiment.STEPS) if experiment else ("its own",) * 2
        command = commands.add_parser(
            name,
            help=text.partition("\n")[0],
            description=text,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        option = command.add_argument
        option("--data", default="digits", help=f"{DATA_HELP} (default: %(default)s)")
        option("--seeds", type=int, help=f"nets for each setting (default: {seeds})")
        option("--steps", type=int, help=f"mini-batches to train a net on (default: {steps})")
        option("--train-size", type=int, help="examples to train on (default: by the data)")
        option(
            "--folder",
            type=Path,
            default="dropout_paper_results",
            help="where finished runs and pictures are kept (default: %(default)s)",
        )
    options = parser.parse_args(argv)
    try:
        data = training.load(options.data)
    except (OSError, ValueError) as error:
        parser.error(f"--data: {error}")
    seeds, steps, train_size = options.seeds, options.steps, options.train_size
    for possible, message in (
        # 20 seeds have a million ways to choose the signs of their differences.
        (seeds is None or 2 <= seeds <= 20, f"--seeds is 2 to 20, got {seeds}"),
        (steps is None or steps >= 1, f"--steps is at least 1, got {steps}"),
        (
            train_size is None or 1 <= train_size <= data.most,
            f"--train-size is 1 to {data.most} for these data, got {train_size}",
        ),
    ):
        if not possible:
            parser.error(message)
    chosen = EXPERIMENTS if options.command == "all" else [options.command]
    todo = []
    for name in chosen:
        experiment = EXPERIMENTS[name]
        own = argparse.Namespace(
            seeds=seeds or experiment.SEEDS, steps=steps or experiment.STEPS, train_size=train_size
        )
        try:
            todo.append((name, experiment, experiment.runs(data, own)))
        except ValueError as error:
            parser.error(f"{name}: {error}")

    try:
        options.folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        parser.error(f"--folder: {error}")
    store = Store(options.folder / "runs.jsonl")
    print(f"Data: {data}")
    try:
        for name, experiment, runs in todo:
            print(f"\n=== {name}: {experiment.__doc__.partition(chr(10))[0]}")
            sizes = ", ".join(
                str(size) for size in dict.fromkeys(run["train_size"] for run in runs)
            )
            print(
                f"{len(runs)} nets with {len({run['seed'] for run in runs})} seeds, "
                f"{runs[0]['steps']} steps of {training.BATCH_SIZE} examples, of {sizes}"
            )
            results = finish(experiment, runs, data, store)
            report(experiment, results)
            draw(options.folder / f"{name}.png", experiment, results)
    except KeyboardInterrupt:
        sys.exit(f"\nInterrupted; the same command resumes from {store.path}.")


if __name__ == "__main__":
    main()
