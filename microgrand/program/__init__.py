"""From a function to one flat NumPy program: `compile`.

VJPs are NumPy functions, so the same line runs on arrays, on tensors, on the arrays of other
libraries, and on arrays that write down each call. The last of these is what this folder is about.
To trace a function is to run it on these, which the code calls *recorded* values.
Of ``grad(lambda x: np.sum(np.tanh(x) ** 2))``, such an array writes down, forward and backward,

    tanh = np.tanh(x)
    power = tanh ** 2
    sum = np.sum(power)
    ...
    power_back_product = 2 * tanh ** 1                      the VJP of ``**``
    tanh_grad = power_grad * power_back_product
    tanh_back_difference = 1 - tanh ** 2                    the VJP of `np.tanh`
    x_grad = tanh_grad * tanh_back_difference

and all that is left to do is to write these lines well. Read on in this order:

- recording.py, recorder.py, functions.py, questions.py: the array that notes what is done with it,
  and the recorder that writes it down;
- calls.py, containers.py, sameness.py: the program, a list of calls on variables, which stand in
  nests, and when two values in these are the same;
- slots.py, state.py, unread.py, names.py, holders.py, libraries.py: what a training step closes
  over, and how it is found and put back;
- devices.py: what is an array, also of a library that computes on a device;
- replacing.py, standins.py, optimizers.py: what stands in the place of arrays, generators, caches
  and classes meanwhile, and where an optimizer's numbers come from;
- tracing.py: one call of the function on recorded values, and the program that is made of it;
- raising.py, backups.py: calls that may raise, which leads the function another way, and how a run
  is taken back;
- passes.py, sums.py, values.py, masks.py, operands.py, blocks.py, buffers.py: how it becomes
  shorter and faster, to the bit the same;
- labels.py, source.py, saving.py, standalone.py: the program as Python, with names, to be read
  and saved;
- binding.py, running.py, errstates.py, again.py: what is checked before a run, what is shown after
  it, and the run;
- native.py, places.py, parts.py, reductions.py, memory.py, rolling.py, lowering.py: parts of it as
  loops over memory;
- native_library.py, numba_library.py, numba_cache.py: what these call, and how they become machine
  code;
- compiled.py: the callable that ties them together; comparison.py: ``check=True``;
- checks.py: what is refused.
"""

from .compiled import Compiled, compile

__all__ = ["Compiled", "compile"]
