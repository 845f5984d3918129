"""Forked processes: they draw masks of their own, and wait for no lock of their parent's."""

import multiprocessing
import os
import signal
import threading

import numpy as np
import pytest

from microgrand import Tensor, manual_seed, nn
from microgrand.nn import functional as F
from microgrand.random import default_generator

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork"),
    pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning"),
]


def draw_mask(_=None):
    """A mask of 256 bits, as bytes."""
    dropout = nn.Dropout()
    dropout(np.ones(256))
    return np.packbits(dropout.mask).tobytes()


def in_child(function):
    """Return the bytes that a function returns in a forked child; none if it fails or hangs."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        signal.alarm(20)
        try:
            os.write(write, function())
        finally:
            os._exit(0)
    os.close(write)
    with open(read, "rb") as pipe:
        result = pipe.read()
    os.waitpid(child, 0)
    return result


def run(seed):
    """The masks of two children, two after the parent has drawn, a grandchild and the parent."""
    manual_seed(seed)
    masks = [in_child(draw_mask), in_child(draw_mask)]
    masks.append(draw_mask())
    masks += [in_child(draw_mask), in_child(lambda: in_child(draw_mask)), draw_mask()]
    return masks


def test_children_draw_masks_of_their_own_that_follow_from_the_seed():
    first = run(0)
    assert all(len(mask) == 32 for mask in first)
    assert len(set(first)) == len(first)
    assert run(0) == first
    assert not set(run(1)) & set(first)


def test_a_fork_does_not_change_what_the_parent_draws():
    manual_seed(0)
    expected = [draw_mask(), draw_mask()]
    manual_seed(0)
    masks = [draw_mask()]
    in_child(draw_mask)
    assert [*masks, draw_mask()] == expected


def test_workers_of_a_pool_draw_masks_of_their_own():
    def draw_in_pool():
        manual_seed(0)
        barrier = multiprocessing.get_context("fork").Barrier(2)
        queue = multiprocessing.get_context("fork").SimpleQueue()

        def work(number):
            barrier.wait(20)
            queue.put((number, draw_mask()))

        workers = [
            multiprocessing.get_context("fork").Process(target=work, args=(number,))
            for number in range(2)
        ]
        for worker in workers:
            worker.start()
        masks = dict(queue.get() for _ in workers)
        for worker in workers:
            worker.join()
        return masks

    masks = draw_in_pool()
    assert masks[0] != masks[1]
    assert draw_in_pool() == masks
    manual_seed(0)
    with multiprocessing.get_context("fork").Pool(2) as pool:
        drawn = pool.map(draw_mask, range(8), chunksize=1)
    assert len(set(drawn)) == 8


def test_a_child_draws_while_a_thread_of_its_parent_does():
    """The thread does not live on in the child, and would never give its lock back there."""
    done = threading.Event()

    def draw_always():
        while not done.is_set():
            default_generator.random(100_000)

    thread = threading.Thread(target=draw_always)
    thread.start()
    try:
        masks = [in_child(draw_mask) for _ in range(20)]
    finally:
        done.set()
        thread.join()
    assert len(set(masks)) == 20
    assert b"" not in masks


def test_a_child_differentiates_while_a_thread_of_its_parent_does():
    done = threading.Event()
    shared = Tensor(np.ones(1_000_000), requires_grad=True)

    def differentiate(x):
        F.dropout(x).sum().backward()
        return b"done"

    def differentiate_always():
        while not done.is_set():
            differentiate(shared)

    thread = threading.Thread(target=differentiate_always)
    thread.start()
    try:
        own = Tensor(np.ones(4), requires_grad=True)
        assert [in_child(lambda: differentiate(own)) for _ in range(5)] == [b"done"] * 5
    finally:
        done.set()
        thread.join()
