"""Arguments of the wrong kind give a SphereflowError, whatever the public name."""

import numpy as np
import pytest

import sphereflow as sf

VMF = sf.VonMisesFisher([0, 0, 1], 2.0)
HEADS = sf.FixedHeads(np.eye(3))

CALLS = {
    "grid of no degree": lambda: sf.SphereGrid(None),
    "grid of a word": lambda: sf.SphereGrid("a"),
    "grid of nan": lambda: sf.SphereGrid(np.nan),
    "grid beyond the limit": lambda: sf.SphereGrid(10**6),
    "scheme beyond the limit": lambda: sf.Spectral(lmax=10**6),
    "quadrature of a word": lambda: sf.OrnsteinUhlenbeck(np.eye(3), 1.0, quadrature="many"),
    "no sigma": lambda: sf.OrnsteinUhlenbeck(np.eye(3), None),
    "density at a word": lambda: VMF("x"),
    "density in the plane": lambda: VMF([0, 1]),
    "density at nothing": lambda: VMF(None),
    "mixture of nothing": lambda: sf.Mixture(None),
    "mixture not in a list": lambda: sf.Mixture(VMF),
    "negative sample": lambda: VMF.sample(-1),
    "half a sample": lambda: VMF.sample(2.5),
    "seed of a word": lambda: VMF.sample(3, seed="a"),
    "negative seed": lambda: sf.Uniform().sample(3, seed=-1),
    "no heads": lambda: sf.FixedHeads(np.zeros((0, 3, 3))),
    "ragged heads": lambda: sf.FixedHeads([[1, 2], [3]]),
    "huge logits": lambda: sf.attention_field(VMF, sf.FixedHeads(1e3 * np.eye(3))).velocity(
        [[0, 0, 1.0]]
    ),
    "field of nothing": lambda: sf.attention_field(None, HEADS),
    "field without heads": lambda: sf.attention_field(VMF, None),
    "field at a word": lambda: sf.attention_field(VMF, HEADS).velocity("a"),
    "field of zero vectors": lambda: sf.attention_field(np.zeros((3, 3)), HEADS),
    "complex heads": lambda: sf.FixedHeads(1j * np.eye(3)),
    "heads of None": lambda: sf.FixedHeads(None),
    "table of no heads": lambda: sf.TabulatedHeads([0, 1], np.zeros((2, 0, 3, 3))),
    "heads that are a class": lambda: sf.TransformerPDE(sf.FixedHeads, VMF),
    "density that is a class": lambda: sf.TransformerPDE(None, sf.VonMisesFisher),
    "concentration of a word": lambda: sf.VonMisesFisher([0, 0, 1], "4"),
    "field of no points": lambda: sf.attention_field(np.zeros((0, 3)), HEADS),
    "weights of a density": lambda: sf.attention_field(VMF, HEADS, weights=[1]),
    "coarse tolerance": lambda: sf.attention_field(VMF, HEADS, tolerance=10),
    "highest degree below the first": lambda: sf.Spectral(lmax=63, lmax_max=31),
    "scheme that is a class": lambda: sf.solve(
        sf.TransformerPDE(None, VMF), t_end=1, scheme=sf.Spectral
    ),
    "drift of one argument": lambda: sf.solve(
        sf.TransformerPDE(None, VMF, drift=lambda x: x), t_end=1, scheme=sf.Spectral(lmax=15)
    ),
    "density of two arguments": lambda: sf.solve(
        sf.TransformerPDE(None, lambda x, y: x), t_end=1, scheme=sf.Spectral(lmax=15)
    ),
    "a million million outputs": lambda: sf.solve(
        sf.TransformerPDE(None, VMF), t_end=1, save_every=1e-12, scheme=sf.Spectral(lmax=15)
    ),
    "no scheme": lambda: sf.solve(sf.TransformerPDE(None, VMF), t_end=1, scheme=None),
    "output of a number": lambda: sf.solve(
        sf.TransformerPDE(None, VMF), t_end=1, scheme=sf.Spectral(lmax=15), output=5
    ),
    "stop of a number": lambda: sf.solve(
        sf.TransformerPDE(None, VMF), t_end=1, scheme=sf.Spectral(lmax=15), stop=3
    ),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())
def test_wrong_arguments_are_refused_with_a_sentence(call):
    with pytest.raises(sf.SphereflowError) as caught:
        call()
    assert len(str(caught.value)) > 20


def test_a_mixture_of_plain_functions_can_be_sampled():
    mixture = sf.Mixture([lambda x: 1 + x[..., 2], lambda x: 1 - x[..., 2]], [0.9, 0.1])
    points = mixture.sample(20000, seed=1)
    # The mean height of (1 + z)/4π is 1/3; standard error of the mean below 0.004.
    assert points[:, 2].mean() == pytest.approx(0.8 / 3, abs=0.02)
