"""The import of the package."""

import subprocess
import sys


def test_importing_the_package_loads_no_heavy_modules():
    # Time is not tested here; the modules that would cost it are.
    code = (
        "import sys, numpy; before = set(sys.modules); import microgrand;"
        "print(*set(sys.modules) - before)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    heavy = {"asyncio", "hypothesis", "logging", "matplotlib", "numpy.f2py", "numpy.testing"}
    heavy |= {"pytest", "scipy", "sklearn", "torch", "tqdm", "unittest"}
    assert not heavy & set(run.stdout.split())


def test_differentiating_functions_imports_no_layers():
    code = (
        "import sys, microgrand; print('microgrand.nn' in sys.modules, 'nn' in dir(microgrand));"
        "print(microgrand.nn.Linear(1, 1), microgrand.optim.SGD, microgrand.remat)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.startswith("False True\nLinear(")
