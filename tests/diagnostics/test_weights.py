"""M_θ of (138) against closed forms."""

import numpy as np
import pytest

import sphereflow as sf
from sphereflow.diagnostics import head_norm_integral
from sphereflow.errors import InputError

TIMES = np.linspace(0, 2, 9)


def ornstein_uhlenbeck(t, sigma, start):
    """∫ |M|² + tr Cov for the mean (1 − e^{−t}) I: nine entries with six variances in sum."""
    mean = 3 * (t - 2 * (1 - np.exp(-t)) + (1 - np.exp(-2 * t)) / 2)
    settled = (1 - np.exp(-2 * t)) / 2
    return mean + 6 * (start**2 * settled + sigma**2 * (t - settled))


def test_gaussian_law_has_its_closed_form():
    law = sf.OrnsteinUhlenbeck(np.eye(3), 0.8, initial_std=0.5)
    found = head_norm_integral(law, TIMES)
    np.testing.assert_allclose(found, ornstein_uhlenbeck(TIMES, 0.8, 0.5), rtol=1e-10)


def test_run_under_the_law_gives_the_same_by_its_saved_times():
    law = sf.OrnsteinUhlenbeck(np.eye(3), 0.8, initial_std=0.5)
    problem = sf.TransformerPDE(law, sf.VonMisesFisher([0, 0, 1], 2.0), flow="descent")
    scheme = sf.Spectral(lmax=15, lmax_max=15, resolution_limit=1.0)
    run = sf.solve(problem, t_end=2.0, scheme=scheme, save_every=0.05, rtol=1e-4)
    expected = ornstein_uhlenbeck(run.time.values, 0.8, 0.5)
    found = head_norm_integral(run)
    np.testing.assert_allclose(found, expected, atol=1e-5)  # Simpson's rule, step 0.05
    assert found.dims == ("time",)


@pytest.mark.parametrize(("norm", "square"), [("frobenius", 9.25), ("spectral", 9.0)])
def test_paths_of_tokens_and_norms(norm, square):
    heads = sf.FixedHeads([np.diag([3.0, -0.5, 0.0]), np.diag([0.0, -0.5, 3.0])])
    tokens = sf.Particles(5, 0.1, seed=1, paths=2)
    problem = sf.TransformerPDE(heads, sf.Uniform())
    run = sf.solve(problem, t_end=0.4, scheme=tokens, save_every=0.1)
    found = head_norm_integral(run, norm=norm)
    assert found.dims == ("path", "time")
    expected = np.broadcast_to(square * run.time.values, found.shape)
    np.testing.assert_allclose(found, expected, atol=1e-13)


def test_errors_say_what_is_wrong():
    law = sf.OrnsteinUhlenbeck(np.eye(3), 1.0)
    with pytest.raises(InputError, match="norm must be 'frobenius'"):
        head_norm_integral(law, [0.0, 1.0], norm="spectral")
    with pytest.raises(InputError, match="times must increase"):
        head_norm_integral(law)
    with pytest.raises(InputError, match="norm must be"):
        head_norm_integral(law, [1.0], norm="nuclear")
    problem = sf.TransformerPDE(sf.FixedHeads(np.eye(3)), sf.Uniform())
    tokens = sf.Particles(5, 0.1, seed=1, store="statistics")
    run = sf.solve(problem, t_end=0.1, scheme=tokens, save_every=0.1)
    with pytest.raises(InputError, match="hold the heads"):
        head_norm_integral(run)
    with pytest.raises(InputError, match="leave them out"):
        head_norm_integral(run, [0.0])
