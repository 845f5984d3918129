"""Mutate the library, a token at a time, and see which mutants no test notices.

Needs `cosmic-ray <https://cosmic-ray.readthedocs.io>`_, whose operators change the code:

    pip install cosmic-ray
    python tests/mutation microgrand/vjps/*.py --record mutants.jsonl
    python tests/mutation --record mutants.jsonl            # the score, and who survived

The first run measures which test runs which line. A mutant is given to the tests that run its
line, those first that run little else, until one fails. Every mutant has a process of its own,
forked from one that has imported NumPy, Hypothesis and pytest, which makes a second of ten. What
the record has is not done again, so that a run may be stopped and continued; but with
``--survivors``, the survivors are, to see whether new tests notice them.
"""

from __future__ import annotations

import argparse
import ast
import collections
import difflib
import gc
import importlib.machinery
import importlib.util
import json
import os
import re
import resource
import signal
import sys
import time
from dataclasses import dataclass
from inspect import iscode
from pathlib import Path
from types import FunctionType
from typing import Any

import hypothesis.extra.numpy
import numpy  # noqa: F401  imported before the fork, as is the line above
import pytest

#: Where the tests of these modules are. (To name the modules of the library themselves would have
#: pytest import them in a way of its own.)
TESTS = ("tests/test_vjps", "tests/test_engine.py", "tests/test_primitives.py",
         "tests/test_tensor.py", "tests/test_methods.py", "tests/test_masks.py",
         "tests/test_transforms.py", "tests/test_misuse.py", "tests/test_silent_losses.py",
         "microgrand")  # fmt: skip
#: Parts of names of tests that would kill no more: they are long, or tests of the checks.
IGNORED = ("million", "notice_a_wrong", "test_import")
#: Tests of what the table has, whatever line of it they run: for mutants that show on import.
OF_THE_TABLE = tuple(
    f"tests/test_vjps/test_table.py::test_{name}"
    for name in (
        "every_entry_of_the_table_has_a_check",
        "every_function_of_numpy_is_in_the_table_or_documented_as_unsupported",
        "formulas_take_the_arguments_of_numpys_functions",
        "vjps_have_the_default_values_of_their_functions",
    )
)
#: Operators replace `+` by ten others, say; these are the ones that are hardest to notice.
OPERATORS = (
    *("BinaryOperator_Add_Sub", "BinaryOperator_Sub_Add", "BinaryOperator_Mul_Div"),
    *("BinaryOperator_Div_Mul", "BinaryOperator_FloorDiv_Div", "BinaryOperator_Mod_Mul"),
    *("BinaryOperator_Pow_Mul", "BinaryOperator_BitOr_BitAnd", "BinaryOperator_BitAnd_BitOr"),
    *("ComparisonOperator_Eq_NotEq", "ComparisonOperator_NotEq_Eq", "ComparisonOperator_Lt_LtE"),
    *("ComparisonOperator_Lt_GtE", "ComparisonOperator_LtE_Lt", "ComparisonOperator_LtE_Gt"),
    *("ComparisonOperator_Gt_GtE", "ComparisonOperator_Gt_LtE", "ComparisonOperator_GtE_Gt"),
    *("ComparisonOperator_GtE_Lt", "ComparisonOperator_Is_IsNot", "ComparisonOperator_IsNot_Is"),
    "UnaryOperator_Delete",
    *("AndWithOr", "OrWithAnd", "TrueWithFalse", "FalseWithTrue", "BreakWithContinue"),
    *("ContinueWithBreak", "AddNot", "NumberReplacer", "RemoveDecorator", "ZeroIteration"),
)
FLAGS = ("-q", "--tb=no", "-p", "no:cacheprovider", "-W", "ignore")
#: Seconds of tests, as recorded, that a mutant has to survive, and how many a second.
BUDGET, TESTS_A_SECOND = 20, 15


def main():
    """Make the mutants of the files on the command line, and report all that the record has."""
    parser = argparse.ArgumentParser("python tests/mutation", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("files", nargs="*", type=Path, help="modules to be mutated")
    parser.add_argument("--record", type=Path, required=True, help="file of results, a JSON a line")
    parser.add_argument("--survivors", action="store_true", help="try recorded survivors again")
    parser.add_argument("--tests", nargs="+", default=TESTS, help="files of tests to choose from")
    parser.add_argument("--budget", type=int, default=BUDGET, help="seconds of tests a mutant")
    options = parser.parse_args()
    if options.files and importlib.util.find_spec("cosmic_ray") is None:
        parser.error("the mutants are cosmic-ray's: pip install cosmic-ray")
    sys.path.insert(0, "")  # the library is that of the working directory
    os.environ["HYPOTHESIS_PROFILE"] = "mutation"
    generate = [hypothesis.Phase.explicit, hypothesis.Phase.generate]
    hypothesis.settings.register_profile(
        "mutation", max_examples=20, derandomize=True, deadline=None, database=None,
        phases=generate, report_multiple_bugs=False,
    )  # fmt: skip
    if options.files:
        known = results_in(options.record)
        tests = tests_of_lines(options.record.with_suffix(".tests.json"), options.tests)
        mutants = [
            mutant
            for path in options.files
            for mutant in mutants_of(path)
            if mutant.name not in known or (options.survivors and not known[mutant.name]["killed"])
        ]
        for mutant in mutants:
            mutant.tests, on_import = choose(tests, mutant.path, mutant.line, options.budget)
            if on_import or mutant.functions is None:
                mutant.functions = None
                mutant.tests = [*OF_THE_TABLE, *mutant.tests]
        recorder = Recorder(options.record, options.budget)
        # This process must not import the library, for the sake of those that show on import.
        child = os.fork()
        if child == 0:
            os._exit(pytest.main([*FLAGS, *options.tests], plugins=[Session(mutants, recorder)]))
        os.waitpid(child, 0)
        for mutant in mutants:
            if mutant.functions is None:
                recorder.run(mutant, lambda mutant=mutant: import_and_test(mutant))
    report(results_in(options.record).values())


def results_in(path):
    """Return what is recorded of each mutant, the latest result of each."""
    lines = path.read_text().splitlines() if path.exists() else []
    return {result["mutant"]: result for result in map(json.loads, lines)}


def report(results):
    """Print the survivors, and for each file how many mutants were killed."""
    counts = collections.defaultdict(list)
    for result in results:
        counts[result["mutant"].split("\n")[0].split(":")[0]].append(bool(result["killed"]))
        if not result["killed"]:
            print(result["mutant"], end="\n\n")
    for name, killed in sorted(counts.items()):
        print(f"{name:35}{sum(killed):5} of {len(killed):5} killed")


# -------------------------------------------------------------------------------- the mutants


@dataclass
class Mutant:
    """A file with a change in one line."""

    name: str
    path: Path
    line: int
    source: str
    #: The code of each function that is different, and what replaces it; None if that of the module
    #: is, in default values or tables.
    functions: Any
    tests: Any = ()


def mutants_of(path):
    """Yield each mutant of a file: what is different, in which line, and its source."""
    import cosmic_ray.plugins
    from cosmic_ray.ast import ast_nodes, get_ast
    from cosmic_ray.mutating import mutate_code

    lines = path.read_text().split("\n")
    filename = str(path.resolve())
    code = compile("\n".join(lines), filename, "exec")
    names = [n for n in cosmic_ray.plugins.operator_names() if any(part in n for part in OPERATORS)]
    seen = collections.Counter()
    for node in ast.parse("\n".join(lines)).body:
        start, end = first_line(node) - 1, node.end_lineno
        text = "\n".join(lines[start:end])
        title = getattr(node, "name", text.split("\n")[0][:40])
        for name in names:
            operator = cosmic_ray.plugins.get_operator(name)()
            positions = [
                place for part in ast_nodes(get_ast(text))
                for (place, _) in operator.mutation_positions(part)
            ]  # fmt: skip
            for occurrence, (line, _) in enumerate(positions):
                mutated = mutate_code(text, operator, occurrence)
                if meaning(mutated) in (None, meaning(text)):
                    continue
                difference = [
                    part
                    for part in difflib.unified_diff(text.split("\n"), mutated.split("\n"), n=0)
                    if part[:2] not in ("--", "++", "@@")
                ]
                what = "\n".join([f"{path}: {title}", *difference])
                seen[what] += 1
                if seen[what] > 1:
                    what += f"\n(occurrence {seen[what]})"
                source = "\n".join([*lines[:start], mutated, *lines[end:]])
                changed = changed_functions(code, compile(source, filename, "exec"))
                yield Mutant(what, path, start + line, source, changed)


def first_line(node):
    """Return the first line of a statement, which may be that of a decorator."""
    return min([node.lineno, *(d.lineno for d in getattr(node, "decorator_list", []))])


def changed_functions(old, new):
    """Pair the functions that are different in two versions of a module, or return None."""
    functions = [[part for part in code.co_consts if iscode(part)] for code in (old, new)]
    own = [
        [code.co_code, code.co_names, code.co_varnames, code.co_freevars,
         [repr(part) for part in code.co_consts if not iscode(part)]]
        for code in (old, new)
    ]  # fmt: skip
    if own[0] != own[1] or len(functions[0]) != len(functions[1]):
        return None
    pairs = []
    for before, after in zip(*functions, strict=True):
        inner = changed_functions(before, after)
        if inner is None and before.co_freevars != after.co_freevars:
            return None
        if inner != []:
            pairs += [(before, after), *(inner or ())]
    return pairs


def meaning(source):
    """Return what the code does, without type hints; None if it is not Python."""
    try:
        tree = ast.parse(source)
    except SyntaxError:
        return None
    for node in ast.walk(tree):
        for name in ("annotation", "returns"):
            if hasattr(node, name):
                setattr(node, name, ast.Constant(None))
    return ast.dump(tree)


# ------------------------------------------------------------------- which tests run which line


def tests_of_lines(path, files):
    """Return, and keep in `path`, for each test its seconds and the lines that it runs."""
    if not path.exists():
        import coverage

        collector = coverage.Coverage(data_file=None, source=["microgrand"])
        timer = Timer(collector)
        collector.start()
        if pytest.main([*FLAGS, *files], plugins=[timer]):
            raise SystemExit("mutants are for tests that pass")
        collector.stop()
        data = collector.get_data()
        for file in data.measured_files():
            for line, contexts in data.contexts_by_lineno(file).items():
                for test in contexts:
                    if test:
                        lines = timer.tests[test]["lines"].setdefault(os.path.relpath(file), [])
                        lines.append(line)
        path.write_text(json.dumps(timer.tests))
        print("measured which tests run which lines; call this again to begin", file=sys.stderr)
        raise SystemExit(0)  # this process has imported the library
    return json.loads(path.read_text())


class Timer:
    """A pytest plugin that tells the coverage collector which test is running."""

    def __init__(self, collector):
        self.collector = collector
        self.tests = {}

    def pytest_collection_modifyitems(self, items):
        items[:] = [item for item in items if not any(part in item.nodeid for part in IGNORED)]

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_protocol(self, item):
        start = time.process_time()
        self.collector.switch_context(item.nodeid)
        yield
        self.collector.switch_context("")
        self.tests[item.nodeid] = {"seconds": time.process_time() - start, "lines": {}}


def choose(tests, path, line, budget):
    """List the tests for a mutant of a line, the quick and special ones first.

    Also tell whether the line runs on import only, and the tests are those of what is around it.
    """
    source = path.read_text()
    for lines in scopes(source, line):
        found = [
            (test["seconds"] * sum(map(len, test["lines"].values())), name)
            for name, test in tests.items()
            if not lines.isdisjoint(test["lines"].get(str(path), ()))
        ]
        if found:
            break
    named = re.findall(r"np[.\w]*\.(\w+)|\"(\w+)\"", source.split("\n")[line - 1])
    named = tuple(f"{name}]" for pair in named for name in pair if name)
    chosen = []
    most = TESTS_A_SECOND * budget
    for _, name in sorted(found, key=lambda test: (not test[1].endswith(named), test)):
        budget -= tests[name]["seconds"]
        if (budget < 0 and chosen) or len(chosen) == most:
            break
        chosen.append(name)
    return chosen, lines != {line}


def scopes(source, line):
    """Yield the lines of which one has to be run: first the line itself, then what is around it."""
    yield {line}
    around = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.stmt):
            first = first_line(node)
            if first <= line <= node.end_lineno:
                around.append((node.end_lineno - first, range(first, node.end_lineno + 1), node))
    for _, lines, node in sorted(around, key=lambda found: found[0]):
        yield set(lines)
        for target in getattr(node, "targets", [getattr(node, "target", None)]):
            if isinstance(target, ast.Name):  # where a constant is used
                word = re.compile(rf"\b{target.id}\b")
                yield {n for n, text in enumerate(source.split("\n"), 1) if word.search(text)}
    yield set(range(1, source.count("\n") + 2))


# --------------------------------------------------------------------------- running the tests


@dataclass
class Recorder:
    """Runs something in a process of its own, which tells the test that failed, and records it."""

    path: Path
    budget: int

    def run(self, mutant, function):
        """Call `function`, which returns the name of a test that fails, or None."""
        start = time.perf_counter()
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            # A mutant may ask for any amount of time or memory.
            resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))
            resource.setrlimit(resource.RLIMIT_CPU, (2 * self.budget, 2 * self.budget))
            signal.alarm(10 * self.budget)
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            os.dup2(1, 2)
            os.write(writer, json.dumps(function()).encode())
            os._exit(0)
        os.close(writer)
        with os.fdopen(reader) as pipe:
            answer = pipe.read()
        os.waitpid(child, 0)
        killer = json.loads(answer) if answer else "time or memory"
        result = {"mutant": mutant.name, "killed": killer, "tests": len(mutant.tests),
                  "seconds": round(time.perf_counter() - start, 2)}  # fmt: skip
        with self.path.open("a") as file:
            print(json.dumps(result), file=file)
        print(killer or "SURVIVED", mutant.name, sep="\t", file=sys.stderr, flush=True)


def import_and_test(mutant):
    """Import the mutant instead of its module, collect its tests and run them."""
    load = importlib.machinery.SourceFileLoader.get_code

    def get_code(loader, name):
        if Path(loader.path).resolve() == mutant.path.resolve():
            return compile(mutant.source, loader.path, "exec")
        return load(loader, name)

    importlib.machinery.SourceFileLoader.get_code = get_code
    session = Session([mutant], None)
    files = [name.split("::")[0] for name in mutant.tests]
    files = dict.fromkeys(f if f.startswith("tests") else "microgrand" for f in files)
    pytest.main([*FLAGS, *files], plugins=[session])
    return session.failed or (None if session.passed else "import")


class Session:
    """A pytest plugin: what it does with the tests that pytest has collected."""

    def __init__(self, mutants, recorder):
        self.mutants = mutants
        self.recorder = recorder
        self.failed = None
        self.passed = 0

    def pytest_runtestloop(self, session):
        """Run the tests of the only mutant, or give each one its tests in a process of its own."""
        if session.testsfailed:
            return True
        items = {item.nodeid: item for item in session.items}
        if self.recorder is None:
            self.run(items, self.mutants[0])
            return True
        functions = [f for f in gc.get_objects() if isinstance(f, FunctionType)]
        for mutant in self.mutants:
            if mutant.functions is not None:

                def change_and_test(mutant=mutant):
                    for old, new in mutant.functions:
                        for function in functions:
                            if function.__code__ == old:
                                function.__code__ = new
                    self.run(items, mutant)
                    return self.failed

                self.recorder.run(mutant, change_and_test)
        return True

    def run(self, items, mutant):
        """Run the tests of a mutant until one fails."""
        for name in mutant.tests:
            item = items[name]
            item.ihook.pytest_runtest_protocol(item=item, nextitem=None)
            if self.failed:
                break

    def pytest_runtest_logreport(self, report):
        """Remember the test that failed."""
        if report.failed:
            self.failed = report.nodeid
        self.passed += report.passed


if __name__ == "__main__":
    main()
