"""A few draws of the comparisons of `validation/24_honesty.py`."""

import importlib.util
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "validation" / "honest_cases.py"
spec = importlib.util.spec_from_file_location("honest_cases", SCRIPT)
cases = importlib.util.module_from_spec(spec)
sys.modules["honest_cases"] = cases
spec.loader.exec_module(cases)


@pytest.mark.parametrize("family", cases.FAMILIES)
def test_nothing_wrong_is_silent(family):
    # Draws after those of the script, so that the two do not see the same cases.
    found = [one for draw in (1000, 1001) for one in cases.drawn(family, draw)]
    assert found
    assert not [one for one in found if one.silent]
