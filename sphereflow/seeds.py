"""The tree of seeds: one stream of random numbers for each purpose.

A stream is `numpy.random.SeedSequence(seed, spawn_key=key)`. The key starts with the number of its
purpose, then counts paths, heads, steps and the like. Keys of different purposes differ in their
number or in their length, so that one seed may be given to all uses. The root of the tree belongs
to what a seed is given to directly: a density that is sampled, or the matrices of an experiment
file.
"""

from __future__ import annotations

from enum import Enum

import numpy as np

from .checks import integer

__all__ = ["Purpose", "Seed", "parts_of", "seed_sequence", "stream"]

Seed = int | np.random.SeedSequence | None


class Purpose(Enum):
    """What random numbers are drawn for: a number, and what the rest of the key counts."""

    TOKENS = (0, ("path",))
    HEADS = (0, ("path", "head"))  # θ(0) of a sampled head
    TOKEN_NOISE = (1, ("path", "step"))
    HEAD_NOISE = (1, ("path", "head", "chunk of steps"))
    PART = (2, ("part",))  # of a density that is drawn in several parts, below its own key


def seed_sequence(seed: Seed, purpose: Purpose | None = None, *key: int) -> np.random.SeedSequence:
    """The sequence of a purpose below that of a seed, which is not changed by it."""
    if not isinstance(seed, np.random.SeedSequence):
        seed = np.random.SeedSequence(None if seed is None else integer(seed, "seed", 0))
    if purpose is None:
        return np.random.SeedSequence(seed.entropy, spawn_key=seed.spawn_key)
    number, counters = purpose.value
    if len(key) != len(counters):
        raise ValueError(f"the key of {purpose.name} must be {', '.join(counters)}, got {key}")
    return np.random.SeedSequence(seed.entropy, spawn_key=(*seed.spawn_key, number, *key))


def stream(seed: Seed, purpose: Purpose | None = None, *key: int) -> np.random.Generator:
    """Random numbers of a seed for a purpose; without one those of the seed itself."""
    return np.random.default_rng(seed_sequence(seed, purpose, *key))


def parts_of(seed: Seed, count: int) -> list[np.random.SeedSequence]:
    """Sequences for so many parts of what is drawn with one seed."""
    whole = seed_sequence(seed)
    return [seed_sequence(whole, Purpose.PART, part) for part in range(count)]
