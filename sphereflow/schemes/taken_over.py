"""What a run says of a density that it took over from a run of another scheme."""

from __future__ import annotations

__all__ = ["doubts_of_start"]


def doubts_of_start(error: float, rtol: float) -> list[str]:
    """A sentence on the error with which a density was taken over, where it exceeds `rtol`."""
    if error <= rtol:
        return []
    return [
        f"the density of the earlier run was taken over with an error of {error:.1e} of its "
        "largest value, since harmonics are all that the two schemes share; go on with the scheme "
        "of that run to avoid it"
    ]
