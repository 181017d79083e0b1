"""States as plain data: what comes back is what was kept, and nothing else is taken."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

import numpy as np
import pytest
from numpy.typing import NDArray

from sphereflow.machine.plain_state import from_plain, to_plain

Real = NDArray[np.float64]


@dataclass
class Part:
    count: int = 0


@dataclass
class State:
    t: float
    mu: Annotated[Real, "path cell"]
    areas: Annotated[Real, "cell"]
    masses: Annotated[Real, "..."]
    lengths: list[float | None]
    parts: dict[int, Part]
    one: Part | None = None
    rest: tuple[int, ...] = ()
    warned: bool = False
    sums: dict[str, float] = field(default_factory=dict)


STATE = State(
    *(0.5, np.ones((2, 3)), np.arange(3.0), np.zeros((1, 2, 2)), [None, 0.1], {4: Part(7)}),
    *(Part(1), (1, 2), True, {"energy": 1e-300}),
)


def test_a_state_comes_back_as_it_was():
    kept = to_plain(STATE)
    again = from_plain(State, kept)
    assert to_plain(again) == kept  # the arrays are the same objects
    assert again.parts == {4: Part(7)} and again.lengths == [None, 0.1] and again.rest == (1, 2)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("t", "late", "t is a str in place of float"),
        ("t", True, "t is a bool in place of float"),
        ("t", None, "t is None in place of float"),
        ("mu", np.ones(3), "over path cell"),
        ("mu", np.ones((2, 3), dtype=np.float32), "of float32 .* in place of an array of float64"),
        ("areas", np.arange(4.0), "length 4 in place of 3 along cell"),
        ("lengths", 0.1, "in place of a list"),
        ("parts", {"4": {"count": 1.5}}, "count is a float in place of int"),
        ("one", {"other": 1}, "Part has no 'other'"),
        ("warned", 1, "in place of bool"),
    ],
)
def test_what_is_no_state_is_refused(name, value, message):
    with pytest.raises(ValueError, match=message):
        from_plain(State, to_plain(STATE) | {name: value})


def test_what_is_missing_is_refused():
    kept = to_plain(STATE)
    del kept["mu"]
    with pytest.raises(KeyError, match="mu"):
        from_plain(State, kept)
