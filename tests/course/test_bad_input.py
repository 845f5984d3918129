"""Code that does not do what it should in any sense: a clear report, and no failure of ours."""

import ast

import pytest
from harness import SOURCE, examined, first_fault, lines_by_stage, statuses

OPERATORS = ("add", "sub", "mul", "truediv", "neg", "pow", "radd", "rsub", "rmul", "rtruediv")


def tensor(init, result):
    """Return a file with a Tensor whose operators all return the same."""
    lines = ["import numpy as np", "class Tensor:", f"    def __init__(self, data): {init}"]
    lines += [f"    def __{op}__(self, other=None): return {result}" for op in OPERATORS]
    return "\n".join([*lines, "def bad(): raise KeyboardInterrupt", ""])


ARRAY = "self.data = np.array(data, float)"
FILES = {
    "None": (tensor(ARRAY, "None"), "z is None"),
    "a string": (tensor(ARRAY, "'a'"), "z is a str"),
    "an array": (tensor(ARRAY, "self.data"), "z is a ndarray"),
    "no data": (tensor("self.x = data", "self"), "z has no .data"),
    "data a string": (tensor("self.data = 'abc'", "self"), "z.data is a str"),
    "data an object": (tensor("self.data = object()", "self"), "z.data is an object"),
    "a constructor that raises": (tensor("raise ValueError('oh')", "self"), "ValueError: oh"),
    "operators that raise": (tensor(ARRAY, "1 / 0"), "ZeroDivisionError"),
    "an attribute that is not there": (tensor(ARRAY, "self.boo"), "has no attribute 'boo'"),
    "Ctrl-C of its own": (tensor(ARRAY, "bad()"), "KeyboardInterrupt"),
}


@pytest.mark.parametrize("kind", FILES)
def test_a_tensor_of_the_wrong_kind(kind):
    source, words = FILES[kind]
    stage, fault = first_fault(examined(source, [1]))
    assert stage == 1
    assert words in fault["found"]


@pytest.mark.parametrize("line", ["Tensor = 3", "def Tensor(data): return data", "import numpy"])
def test_a_tensor_that_is_no_class_is_missing(line):
    assert statuses(examined(line + "\n", [1])) == {1: "missing"}


def functions():
    """Yield the functions of the reference that its stages call, by name."""
    for top in ast.parse(SOURCE).body:
        for function in top.body if isinstance(top, ast.ClassDef) else [top]:
            if isinstance(function, ast.FunctionDef) and not function.decorator_list:
                name = f"{top.name}.{function.name}" if function is not top else top.name
                yield pytest.param(function, id=name)


@pytest.mark.slow
@pytest.mark.parametrize("function", list(functions()))
@pytest.mark.parametrize(
    "body", ["return None", "return 3", "raise ValueError('oh')", "return np.ones(3)"]
)
def test_functions_that_return_what_they_should_not(function, body):
    lines = SOURCE.splitlines()
    start = function.body[0].lineno - 1
    changed = set(range(start + 1, function.end_lineno + 1))
    lines[start : function.end_lineno] = [" " * function.body[0].col_offset + body]
    stages = [n for n, run in lines_by_stage().items() if changed & run]
    if stages and function.name != "is_tensor":
        records = examined("\n".join(lines) + "\n", stages, go_on=True, examples=8)
        assert first_fault(records)[0] in stages
