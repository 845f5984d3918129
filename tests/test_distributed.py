"""Data-parallel training, by real processes: their checks are in ranks.py."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("mpi4py", reason="the extra mpi is not installed", exc_type=ImportError)

ROOT = Path(__file__).parents[1]
MPIEXEC = shutil.which(
    "mpiexec", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
)
if MPIEXEC is None:
    pytest.skip("there is no mpiexec", allow_module_level=True)


def run(processes, *command, **environment):
    """Run a program by mpiexec, or alone; return how it ended."""
    launcher = [MPIEXEC, "-n", str(processes)] if processes else []
    return subprocess.run(
        [*launcher, sys.executable, *map(str, command)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **environment},
        capture_output=True,
        text=True,
        timeout=100,
    )


CHECKS = (
    "ranks_do_what_one_process_does",
    "ignored_labels_are_weighted",
    "gradients_accumulate_and_may_be_missing",
    "masks_follow_from_one_seed",
    "disagreements_are_told",
    "a_failure_is_all_or_nothing",
    "misuse_is_refused",
    "buffers_are_rank_0s",
    "a_loss_that_is_none_fails_on_all_ranks",
    "generators_in_lists_diverge",
    "a_checkpoint_is_resumed_by_as_many_ranks_and_by_others",
)


def test_two_ranks_pass_all_checks():
    ended = run(2, "tests/ranks.py", *CHECKS)
    assert (ended.returncode, ended.stdout) == (0, "done\n"), ended.stdout + ended.stderr


def test_any_number_of_ranks_does_what_one_does():
    ended = run(3, "tests/ranks.py", *CHECKS[:4])
    assert (ended.returncode, ended.stdout) == (0, "done\n"), ended.stdout + ended.stderr


@pytest.mark.parametrize(
    ("check", "message"),
    [
        ("one_rank_raises", "LookupError: this rank is lost"),
        ("one_rank_leaves_early", "rank 1 has ended, and rank 0 makes step 3"),
        ("one_rank_exits", "rank 1 has ended, and rank 0 makes step 0"),
        ("one_rank_makes_nothing", "rank 1 has ended, and rank 0 makes a Distributed"),
        ("one_rank_ends_with_two_models", "rank 1 has ended, and rank 0 makes step 0"),
    ],
)
def test_no_rank_waits_for_one_that_has_ended(check, message):
    ended = run(2, "tests/ranks.py", check)
    assert ended.returncode != 0
    assert message in ended.stderr
    assert "done" not in ended.stdout


def test_the_example_prints_the_loss_of_one_process():
    example = "examples/mlp_distributed.py", "--epochs", 2, "--width", 16
    losses = []
    for processes in (None, 2):
        ended = run(processes, *example)
        assert ended.returncode == 0, ended.stderr
        lines = ended.stdout.splitlines()
        assert lines[0].startswith(f"{processes or 1} process")
        losses.append([line.split(",")[0] for line in lines[1:]])
    assert losses[0] == losses[1]


def test_processes_of_another_launcher_are_refused():
    program = "import microgrand.distributed as d, microgrand.nn as nn; {}(nn.Linear(1, 1))"
    program = program.format("d.DistributedDataParallel")
    ended = run(None, "-c", program, OMPI_COMM_WORLD_SIZE="2")
    assert "RuntimeError: Open MPI's mpiexec has started 2 processes" in ended.stderr
    assert run(None, "-c", program, OMPI_COMM_WORLD_SIZE="1").returncode == 0


def test_without_mpi4py_the_error_names_the_extra():
    program = (
        "import sys; sys.modules['mpi4py'] = None; import microgrand.distributed as d, "
        "microgrand.nn as nn; d.DistributedDataParallel(nn.Linear(1, 1))"
    )
    assert "pip install 'microgrand[mpi]'" in run(None, "-c", program).stderr


def test_one_process_has_the_bits_of_an_ordinary_backward():
    from microgrand import manual_seed, nn
    from microgrand.distributed import DistributedDataParallel
    from microgrand.nn.functional import cross_entropy

    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(6, 3)).astype(np.float32), rng.integers(4, size=6)
    gradients = []
    for distributed in (False, True):
        manual_seed(0)
        net = nn.Sequential(nn.Linear(3, 8), nn.Dropout(0.5), nn.ReLU(), nn.Linear(8, 4))
        ddp = DistributedDataParallel(net) if distributed else None
        loss = cross_entropy(net(x), y)
        value = loss.item()
        if ddp is None:
            loss.backward()
        else:
            assert ddp.backward(loss, examples=6) == value
        gradients.append(b"".join(p.grad.tobytes() for p in net.parameters()))
    assert gradients[0] == gradients[1]


def test_a_compiled_step_cannot_exchange_gradients():
    from microgrand import compile, nn
    from microgrand.distributed import DistributedDataParallel

    net = nn.Linear(3, 1)
    ddp = DistributedDataParallel(net)
    step = compile(lambda x: ddp.backward(net(x).sum(), examples=1))
    with pytest.raises(TypeError, match=r"exchange gradients.*without compile"):
        step(np.ones((1, 3)))
