"""The tree of seeds: one stream of random numbers for each purpose."""

from __future__ import annotations

import numpy as np

from .checks import integer

__all__ = ["Seed", "generator", "seed_sequence"]

Seed = int | np.random.SeedSequence | None


def seed_sequence(seed: Seed) -> np.random.SeedSequence:
    """The seed sequence of a seed; a copy, since spawning from one changes it."""
    if isinstance(seed, np.random.SeedSequence):
        return np.random.SeedSequence(seed.entropy, spawn_key=seed.spawn_key)
    return np.random.SeedSequence(None if seed is None else integer(seed, "seed", 0))


def generator(seed: Seed) -> np.random.Generator:
    """Random numbers of a seed."""
    return np.random.default_rng(seed_sequence(seed))
