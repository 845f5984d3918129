"""Whether operations are recorded: `no_grad` and `enable_grad`, in blocks, threads and tasks."""

import asyncio
import contextvars
import functools
import threading

import numpy as np
import pytest
from helpers import leaf

from microgrand import enable_grad, is_grad_enabled, no_grad


def test_one_grad_mode_object_can_be_entered_within_itself():
    mode = no_grad()
    with mode:
        with mode:
            assert not is_grad_enabled()
        assert not is_grad_enabled()
    assert is_grad_enabled()


def test_no_grad_records_nothing_and_enable_grad_does_again():
    x = leaf(1.0)
    with no_grad():
        assert not is_grad_enabled()
        assert (x * 2).is_leaf
        assert not (x * 2).requires_grad
        with enable_grad():
            assert (x * 2).requires_grad
        assert not is_grad_enabled()
    assert is_grad_enabled()


def test_the_mode_is_restored_after_an_exception():
    with pytest.raises(KeyError), no_grad():
        raise KeyError
    assert is_grad_enabled()


def test_no_grad_decorates_functions_also_recursive_ones():
    @no_grad()
    def modes(depth):
        """Docstring."""
        return [is_grad_enabled()] + (modes(depth - 1) if depth else []) + [is_grad_enabled()]

    assert modes(3) == [False] * 8
    assert modes.__doc__ == "Docstring."
    assert is_grad_enabled()
    with no_grad():
        assert enable_grad()(is_grad_enabled)()


@pytest.mark.parametrize("mode", [no_grad, enable_grad])
def test_a_decorator_without_parentheses_is_an_error(mode):
    with pytest.raises(TypeError, match=rf"`@{mode.__name__}\(\)` with parentheses"):

        @mode
        def f():
            pass


def test_a_decorator_without_effect_is_an_error():
    def generator():
        yield

    async def coroutine():
        pass

    async def asynchronous_generator():
        yield

    for function in (generator, coroutine, asynchronous_generator):
        with pytest.raises(TypeError, match=rf"no effect on .*{function.__name__}"):
            no_grad()(function)


def test_no_grad_holds_for_its_own_thread():
    inside, seen = threading.Event(), []

    def other():
        inside.wait()
        seen.append(is_grad_enabled())

    thread = threading.Thread(target=other)
    thread.start()
    with no_grad():
        inside.set()
        thread.join()
    assert seen == [True]


def test_threads_may_share_one_object():
    mode, entered, left = no_grad(), threading.Event(), threading.Event()
    seen = []

    def other():
        with mode:
            entered.set()
            left.wait()
        seen.append(is_grad_enabled())

    thread = threading.Thread(target=other)
    thread.start()
    entered.wait()
    with no_grad():
        with mode:
            left.set()
            thread.join()
        assert not is_grad_enabled()
    assert seen == [True]
    assert is_grad_enabled()


def begun():
    """Begin a generator that holds a block."""

    def evaluations():
        with no_grad():
            yield

    generator = evaluations()
    next(generator)
    return generator


def test_a_block_in_a_generator_that_is_left_inside_another_one_leaves_no_trace():
    generator = begun()
    with no_grad():
        generator.close()
        assert not is_grad_enabled()
    assert is_grad_enabled()


@pytest.mark.parametrize("inner", [no_grad, enable_grad])
def test_the_innermost_block_decides_also_after_a_generator_has_left_an_outer_one(inner):
    generator = begun()
    with inner():
        generator.close()
        assert is_grad_enabled() is inner.enabled
    assert is_grad_enabled()


def test_a_block_in_a_generator_that_another_thread_leaves_does_not_matter_to_it():
    seen = []

    def other(generator):
        with enable_grad(), no_grad():
            generator.close()
            seen.append(is_grad_enabled())
        seen.append(is_grad_enabled())

    context = contextvars.copy_context()  # where the block stays open
    thread = threading.Thread(target=other, args=(context.run(begun),))
    thread.start()
    thread.join()
    assert seen == [False, True]
    assert is_grad_enabled()


def test_no_grad_holds_for_its_own_task():
    async def evaluate(entered, left):
        with no_grad():
            entered.set()
            await left.wait()
            return is_grad_enabled()

    async def train(entered, left):
        await entered.wait()
        enabled = is_grad_enabled()
        left.set()
        return enabled

    async def both():
        events = asyncio.Event(), asyncio.Event()
        return await asyncio.gather(evaluate(*events), train(*events))

    assert asyncio.run(both()) == [False, True]


@pytest.mark.parametrize("mode", [no_grad, enable_grad])
def test_anything_that_can_be_called_may_be_decorated(mode):
    x = leaf(1.0)
    with no_grad() if mode is enable_grad else enable_grad():
        assert mode()(np.sin)(x).requires_grad == (mode is enable_grad)
        assert mode()(functools.partial(np.multiply, 2))(x).requires_grad == (mode is enable_grad)
    with pytest.raises(TypeError, match=r"given 'first'; it takes no argument"):
        mode("first", "second")
