"""The derivative table, entry by entry: values against NumPy, derivatives against differences."""

import pytest

pytest.register_assert_rewrite(f"{__name__}.calls", f"{__name__}.walks")
