"""PyTorch with `torch.compile`: the same tasks, as its documentation says to compile them."""

import os

import contender_torch as eager
from worker import serve


class Training(eager.Training):
    """Forward and backward pass are compiled together, and the optimizer's step."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.graph = torch.compile(self.graph)
        self.optimizer.step = torch.compile(self.optimizer.step)


class Dropout(eager.Dropout):
    """Dropout alone, forward and backward."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.dropout = torch.compile(self.dropout)


class Adam(eager.Adam):
    """Adam's step alone."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.step = torch.compile(self.optimizer.step)


if __name__ == "__main__":
    import torch  # not above: pytest imports this file when it looks for doctests

    eager.torch = torch
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    serve(torch.__version__, {"training": Training, "dropout": Dropout, "adam": Adam})
