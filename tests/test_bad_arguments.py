"""Arguments of the wrong kind give a SphereflowError, whatever the public name."""

import numpy as np
import pytest

import sphereflow as sf

VMF = sf.VonMisesFisher([0, 0, 1], 2.0)
HEADS = sf.FixedHeads(np.eye(3))
OU = sf.OrnsteinUhlenbeck(np.eye(3), 1.0)

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
    "huge logits": lambda: sf.attention_field(VMF, sf.FixedHeads(1e5 * np.eye(3))).velocity(
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
    "stop that raises": lambda: sf.solve(
        sf.TransformerPDE(None, VMF),
        t_end=0.01,
        scheme=sf.Spectral(15, lmax_max=15, resolution_limit=1.0),
        stop=[lambda t, record: 1 / 0],
    ),
    "scheme of a range": lambda: sf.solve(sf.TransformerPDE(None, VMF), t_end=1, scheme=range(3)),
    "outputs closer than steps": lambda: sf.solve(
        sf.TransformerPDE(HEADS, VMF), t_end=1, scheme=sf.Spectral(lmax=15), save_at=[1e-308]
    ),
    "progress of a word": lambda: sf.solve(
        sf.TransformerPDE(None, VMF), t_end=1, scheme=sf.Spectral(lmax=15), progress="x"
    ),
    "texts of a set": lambda: sf.solve(
        sf.TransformerPDE(None, VMF), t_end=1, scheme=sf.Spectral(lmax=15), texts={1}
    ),
    "output with a null character": lambda: sf.solve(
        sf.TransformerPDE(None, VMF), t_end=1, scheme=sf.Spectral(lmax=15), output="x\0.nc"
    ),
    "grid of no refinement": lambda: sf.SphereGrid(15, dealias=None),
    "grid of a complex number of rings": lambda: sf.SphereGrid(15, nlat=1j),
    "grid of infinitely many rings": lambda: sf.SphereGrid(15, nlat=np.inf),
    "grid of too many threads": lambda: sf.SphereGrid(15, threads=10**9),
    "engine of an array": lambda: sf.SphereGrid(15, engine=np.zeros(2)),
    "concentration beyond floats": lambda: sf.VonMisesFisher([0, 0, 1], 10**400),
    "concentration of too many digits": lambda: sf.VonMisesFisher([0, 0, 1], -(16**5000)),
    "bandwidth whose inverse overflows": lambda: sf.EmpiricalDensity(np.eye(3), bandwidth=1e-200),
    "tokens of 24 GB": lambda: sf.EmpiricalDensity(np.broadcast_to(0.5, (10**9, 3))),
    "tokens in no file": lambda: sf.EmpiricalDensity("x\0y"),
    "series of degree 2000": lambda: sf.HarmonicDensity(np.ones(2001**2)),
    "set of heads": lambda: sf.FixedHeads({1, 2}),
    "entries that overflow": lambda: sf.FixedHeads(1e308 * np.eye(3)),
    "phase of a list": lambda: sf.OscillatingHeads(np.eye(3), phase=[]),
    "method of a list": lambda: sf.SampledHeads(OU, 3, method=[]),
    "seed beyond 64 bits": lambda: sf.Particles(3, seed=10**30),
    "mean that raises": lambda: sf.GaussianHeads(lambda t: 1 / 0, np.eye(9)),
    "drift of heads that raises": lambda: sf.HeadProcess(lambda theta, t: 1 / 0),
    "noise of heads that raises": lambda: sf.HeadProcess(
        lambda theta, t: -theta, lambda theta, t: 1 / 0
    ),
    "cells beyond memory": lambda: sf.FokkerPlanckLaw(
        sf.HeadProcess(lambda theta, t: -theta, 1.0, sf.Diagonal()), cells=10**4
    ),
    "ragged cells": lambda: sf.FokkerPlanckLaw(
        sf.HeadProcess(lambda theta, t: -theta, 1.0, sf.Isotropic()), cells=[[1, 2], [3]]
    ),
    "field of a class of heads": lambda: sf.attention_field(VMF, sf.FixedHeads),
    "field at no time": lambda: sf.attention_field(VMF, HEADS, t="x"),
    "field to no tolerance": lambda: sf.attention_field(VMF, HEADS, tolerance=1e-90),
    "field at no points": lambda: sf.attention_field(VMF, HEADS).velocity(np.zeros((0, 3))),
    "experiment of nothing": lambda: sf.load_experiment(None),
    "experiment of a device": lambda: sf.load_experiment("/dev/zero"),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())
def test_wrong_arguments_are_refused_with_a_sentence(call):
    with pytest.raises(sf.SphereflowError) as caught:
        call()
    assert 20 < len(str(caught.value)) < 1100
    assert str(caught.value).isprintable()


def test_a_mixture_of_plain_functions_can_be_sampled():
    mixture = sf.Mixture([lambda x: 1 + x[..., 2], lambda x: 1 - x[..., 2]], [0.9, 0.1])
    points = mixture.sample(20000, seed=1)
    # The mean height of (1 + z)/4π is 1/3; standard error of the mean below 0.004.
    assert points[:, 2].mean() == pytest.approx(0.8 / 3, abs=0.02)
