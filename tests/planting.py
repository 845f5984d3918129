"""Plant a mistake in a function of the library: compile its source with one place changed."""

import inspect
import textwrap


def plant(monkeypatch, mistake, **names):
    """Put a function with a mistake in its place; the mistake may use other names.

    It is given as the owner of the function, its name there, what is right and what is wrong.
    """
    owner, name, right, wrong = mistake
    planted = with_mistake(getattr(owner, name), right, wrong)
    planted.__globals__.update(names)
    monkeypatch.setattr(owner, name, planted)


def with_mistake(function, right, wrong):
    """Return `function` as it would be if its source had `wrong` where it has `right`.

    Fails if the source has not exactly one such place, so that a mistake cannot get lost when
    the library changes.
    """
    function = inspect.unwrap(function)
    source = textwrap.dedent(inspect.getsource(function))
    assert source.count(right) == 1, f"{function.__name__} has {source.count(right)} of {right!r}"
    lines = source.replace(right, wrong).splitlines()
    while lines[0].startswith("@"):  # the function itself, not what decorators make of it
        del lines[0]
    namespace = dict(function.__globals__)
    code = compile("from __future__ import annotations\n" + "\n".join(lines), "<mistake>", "exec")
    exec(code, namespace)
    return namespace[function.__name__]
