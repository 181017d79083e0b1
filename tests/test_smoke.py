"""One look at every part that other versions of Python and of the dependencies have broken."""

import numpy as np
import pytest
import xarray as xr
from typer.testing import CliRunner

import sphereflow as sf
from sphereflow.cli import app

HEADS = sf.FixedHeads(np.eye(3))
START = sf.VonMisesFisher([0, 0, 1], 2.0)
PROBLEM = sf.TransformerPDE(HEADS, START, flow="descent")
SCHEMES = {
    "spectral": sf.Spectral(lmax=31),
    "finite volume": sf.FiniteVolume(level=3),
    "characteristics": sf.Characteristics(),
    "particles": sf.Particles(2000, dt=0.05, stepper="rk4", seed=1),
}


@pytest.fixture(scope="module")
def exact():
    return sf.solve(PROBLEM, t_end=0.2, scheme=SCHEMES["spectral"], save_every=0.1, rtol=1e-8)


@pytest.mark.parametrize(
    ("name", "tolerance"),
    [("finite volume", 2e-3), ("characteristics", 1e-6), ("particles", 5e-2)],
)
def test_all_schemes_agree_on_the_energy(name, tolerance, exact):
    """Cells err by their size squared, tokens by one over the root of their number."""
    run = sf.solve(PROBLEM, t_end=0.2, scheme=SCHEMES[name], save_every=0.1)
    assert run.attrs["status"] == "completed"
    np.testing.assert_allclose(run["energy"], exact["energy"], rtol=tolerance)
    assert float(np.abs(run["energy_residual"]).max()) < 1e-4


def test_sums_over_tokens():
    tokens = START.sample(300, 1)
    field = sf.attention_field(tokens, HEADS)
    kernel = np.exp(tokens @ tokens.T)
    expected = kernel @ tokens / kernel.sum(axis=1, keepdims=True)
    expected -= np.einsum("ni,ni->n", expected, tokens)[:, None] * tokens
    assert np.abs(field.velocity(tokens) - expected).max() < 1e-8


def test_a_law_by_its_fokker_planck_equation():
    """dθ = −θ dt + dW from N(1, ¼): variance ½ + (¼ − ½) e^{−2t}."""
    process = sf.HeadProcess(lambda theta, t: -theta, 1.0, sf.Isotropic())
    law = sf.FokkerPlanckLaw(process, sf.Normal(1.0, 0.5), method="grid")
    mean, covariance = law.moments(0.5)
    assert mean[0] == pytest.approx(np.exp(-0.5), abs=1e-4)
    assert covariance[0, 0] == pytest.approx(0.5 - 0.25 * np.exp(-1.0), abs=1e-4)


def test_commands(tmp_path, exact):
    def run(*command):
        done = CliRunner().invoke(app, [str(part) for part in command])
        assert done.exit_code == 0, done.output

    files = [tmp_path / "a.nc", tmp_path / "b.nc"]
    short = ("--set", "run.t_end=0.1", "--set", "scheme.lmax=15")
    run("run", "rotation", "-o", files[0], *short)
    exact.to_netcdf(files[1])
    run("run", files[0], "-o", tmp_path / "again.nc", "--quiet")
    run("compare", files[0], tmp_path / "again.nc", "-o", tmp_path / "report.nc")
    run("plot", files[1], "-o", tmp_path / "figure.png")
    run("animate", files[1], "-o", tmp_path / "movie.gif")
    run("view", files[1], "-o", tmp_path / "page.html")
    first, again = (xr.load_dataset(tmp_path / name) for name in ("a.nc", "again.nc"))
    np.testing.assert_array_equal(first["spectrum"], again["spectrum"])
