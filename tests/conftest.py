"""Hypothesis profiles: choose one with HYPOTHESIS_PROFILE=thorough or --hypothesis-profile."""

import os

from hypothesis import settings

EXAMPLES = 20

# The same examples in every run, so that a failure is never a matter of luck; no deadline, as
# the first call of a function is slow and machines are sometimes busy.
settings.register_profile("default", max_examples=EXAMPLES, derandomize=True, deadline=None)
# Ten times as many, and new ones in every run.
settings.register_profile("thorough", max_examples=10 * EXAMPLES, deadline=None)

settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))
