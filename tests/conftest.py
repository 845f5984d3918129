"""What holds for all tests: the profiles of Hypothesis, and the seed of the library.

Choose a profile with HYPOTHESIS_PROFILE=thorough or --hypothesis-profile.
"""

import os

import pytest
from hypothesis import settings

from microgrand import manual_seed

#: A program that mpiexec runs, for test_distributed.py.
collect_ignore = ["ranks.py"]

EXAMPLES = 20

# The same examples in every run, so that a failure is never a matter of luck; no deadline, as
# the first call of a function is slow and machines are sometimes busy.
settings.register_profile("default", max_examples=EXAMPLES, derandomize=True, deadline=None)
# Ten times as many, and new ones in every run.
settings.register_profile("thorough", max_examples=10 * EXAMPLES, deadline=None)

settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))


@pytest.fixture(autouse=True)
def seed_the_library():
    """Start every test from the same state of the library's generator, whatever ran before it."""
    manual_seed(0)
