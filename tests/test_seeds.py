"""The tree of seeds: no two uses of one seed share random numbers."""

import itertools

import numpy as np
import pytest

import sphereflow as sf
from sphereflow.seeds import Purpose, parts_of, seed_sequence, stream


def keys(purpose):
    return itertools.product(range(3), repeat=len(purpose.value[1]))


def test_no_two_uses_share_random_numbers():
    # With the parts of densities, and parts of those, below all keys that a density can have.
    found = [np.random.SeedSequence(7)]
    found += [seed_sequence(7, one, *key) for one in Purpose for key in keys(one)]
    densities = [found[0], *(seed_sequence(7, Purpose.TOKENS, path) for path in range(3))]
    parts = [part for one in densities for part in parts_of(one, 3)]
    found += [part for part in parts if part.spawn_key[:-1] != (2,)]
    found += [inner for part in parts for inner in parts_of(part, 3)]
    assert len({one.spawn_key for one in found}) == len(found) > 80
    first = [np.random.default_rng(one).random() for one in found]
    assert len(set(first)) == len(found)


@pytest.mark.parametrize("kind", ["mixture", "nested mixture", "kernels"])
def test_tokens_share_nothing_with_heads_of_the_same_seed(kind, monkeypatch):
    # Component k was drawn from the numbers that gave θ(0) of head k.
    keys_of_parts = []
    original = np.random.default_rng

    def watched(seed):
        keys_of_parts.append(seed.spawn_key)
        return original(seed)

    poles = sf.Mixture([sf.VonMisesFisher([0, 0, z], 4.0) for z in (1, -1)])
    density = {
        "mixture": poles,
        "nested mixture": sf.Mixture([poles, poles]),
        "kernels": sf.EmpiricalDensity(np.eye(3), bandwidth=0.2),
    }[kind]
    monkeypatch.setattr(np.random, "default_rng", watched)
    density.sample(20, seed_sequence(5, Purpose.TOKENS, 0))
    drawn, keys_of_parts[:] = set(keys_of_parts), []
    sf.OrnsteinUhlenbeck(np.eye(3), 1.0).sample(4, seed=5).paths(range(1))
    assert len(drawn) > 1 and len(keys_of_parts) == 4
    assert not drawn & set(keys_of_parts)


def test_a_sequence_is_not_used_up():
    sequence = np.random.SeedSequence(3, spawn_key=(1, 2))
    below = seed_sequence(sequence, Purpose.TOKENS, 6)
    below.spawn(2)
    assert below.spawn_key == (1, 2, 0, 6)
    assert seed_sequence(sequence, Purpose.TOKENS, 6).n_children_spawned == 0
    assert sequence.n_children_spawned == 0
    assert stream(sequence).random() == stream(sequence).random()


def test_a_key_of_another_purpose_is_refused():
    with pytest.raises(ValueError, match="path, head"):
        seed_sequence(1, Purpose.HEADS, 0)
