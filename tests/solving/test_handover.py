"""Runs that go on from others: halves are the whole, integrals continue, errors are told."""

import json

import numpy as np
import pytest
import xarray

import sphereflow as sf
from sphereflow.errors import InputError

START = sf.VonMisesFisher([0.3, -0.5, 0.8], 3.0)
WIDE = sf.VonMisesFisher([0.3, -0.5, 0.8], 1.5)
SPECTRAL = sf.Spectral(lmax=31, spectrum_degree=8)
NODES = sf.Characteristics(degree=19, degree_max=19, spectrum_degree=8)
CELLS = sf.FiniteVolume(level=3, degree=2, spectrum_degree=8)
INTEGRALS = ("heads", "transport", "slope")


def name_of(part):
    return type(part).__name__ if hasattr(part, "start") else ""


def symmetric_heads(count, seed=0):
    noise = np.random.default_rng(seed).standard_normal((count, 3, 3))
    return (noise + np.swapaxes(noise, 1, 2)) / 2


PROBLEM = sf.TransformerPDE(sf.FixedHeads(symmetric_heads(2)), WIDE)


def go(problem, scheme, save_at, rtol=1e-9, **options):
    return sf.solve(
        problem, t_end=save_at[-1], scheme=scheme, save_at=save_at, rtol=rtol, **options
    )


def in_two_halves(problem, first, second, rtol=1e-9, middle=0.1, end=0.2):
    one = go(problem, first, [0.0, middle], rtol)
    return one, go(problem, second, [middle, end], rtol, initial=one)


def assert_closed(whole, late, bound):
    """The budget of the second part includes that of the first."""
    for name in INTEGRALS:
        of = f"energy_{name}_integral"
        assert np.abs(late[of].values - whole[of].values[-2:]).max() < bound, of
    change = late.energy - float(whole.energy[0])
    explained = sum(
        late[f"energy_{name}_integral"] for name in ("heads", "transport", "drift", "diffusion")
    )
    assert np.abs(change - explained - late.energy_residual).max() < bound
    difference = late.energy_residual - late.energy_residual_slope
    by_slope = late.energy_slope_integral - late.energy_transport_integral
    assert np.abs(difference - by_slope).max() < bound


# One scheme in two halves


@pytest.mark.parametrize("kind", [sf.FixedHeads, sf.OscillatingHeads])
def test_a_spectral_run_in_halves_is_that_run(kind):
    law = kind(symmetric_heads(2))
    problem = sf.TransformerPDE(law, WIDE, flow="descent", diffusion=0.05)
    first, second = in_two_halves(problem, SPECTRAL, SPECTRAL)
    whole = go(problem, SPECTRAL, [0.0, 0.1, 0.2])
    assert np.array_equal(second.time, [0.1, 0.2])
    assert np.array_equal(first.final_spectrum[:81], second.spectrum.values[0])
    assert np.abs(second.spectrum.values - whole.spectrum.values[1:]).max() < 1e-9
    assert_closed(whole, second, 1e-9)
    assert np.abs(second.energy_residual).max() < 1e-8


def test_a_run_of_characteristics_in_halves_is_that_run():
    first, second = in_two_halves(PROBLEM, NODES, NODES)
    whole = go(PROBLEM, NODES, [0.0, 0.1, 0.2])
    assert np.array_equal(second.token_weight, first.token_weight)
    for name in ("position", "log_density"):
        assert np.array_equal(second[name].values[0], first[name].values[-1]), name
    assert np.abs(second.position.values - whole.position.values[1:]).max() < 1e-9
    assert np.abs(second.log_density.values - whole.log_density.values[1:]).max() < 1e-9
    assert_closed(whole, second, 1e-9)


def test_cells_are_handed_over_to_the_last_bit():
    first, second = in_two_halves(PROBLEM, CELLS, CELLS)
    assert np.array_equal(first.density.values[-1], second.density.values[0])
    whole = go(PROBLEM, CELLS, [0.0, 0.1, 0.2])
    # The steps between evaluations of v̄ begin anew: within the error of the mesh.
    assert np.abs(second.spectrum - whole.spectrum.isel(time=[1, 2])).max() < 2e-5
    finer = go(PROBLEM, sf.FiniteVolume(level=4, degree=2), [0.1, 0.15], initial=first)
    assert np.abs(finer.mass - 1).max() < 1e-13
    moments = finer.spectrum.values[0, :81]
    assert np.abs(moments - first.spectrum.values[-1]).max() < 2e-4


@pytest.mark.parametrize(("dt", "middle"), [(0.02, 0.2), (0.02, 0.19)])
def test_tokens_with_noise_in_halves_are_the_same_tokens(dt, middle):
    """The numbers of the steps, and with them all noise, go on from the first half."""
    law = sf.OrnsteinUhlenbeck(np.eye(3), 1.0).sample(count=3, seed=7)
    problem = sf.TransformerPDE(law, START, flow="descent", diffusion=0.1)
    first = go(problem, sf.Particles(count=40, dt=dt, seed=3), [0.0, middle])
    second = go(problem, sf.Particles(dt=dt, seed=3), [middle, 0.4], initial=first)
    whole = go(problem, sf.Particles(count=40, dt=dt, seed=3), [0.0, middle, 0.4])
    assert second.attrs["final_steps"] == whole.attrs["final_steps"]
    for name in second.data_vars:
        kept = whole[name].values[1:]
        assert second[name].values == pytest.approx(kept, abs=1e-13), name


def test_one_path_of_an_ensemble_goes_on_with_its_own_heads():
    law = sf.OrnsteinUhlenbeck(np.eye(3), 1.0).sample(count=3, seed=7)
    problem = sf.TransformerPDE(law, START, flow="descent")
    both = sf.Particles(count=30, dt=0.02, seed=3, paths=2)
    first, whole = go(problem, both, [0.0, 0.2]), go(problem, both, [0.2, 0.4])
    scheme = sf.Particles(dt=0.02, seed=3, first_path=1)
    second = go(problem, scheme, [0.4], initial=first.isel(path=1))
    assert np.abs(second.position.values[0] - whole.position.values[1, 1]).max() < 1e-13


# From one scheme to another


@pytest.mark.parametrize(
    ("first", "second", "bound"),
    [
        (SPECTRAL, NODES, 1e-8),
        (NODES, SPECTRAL, 1e-8),
        (SPECTRAL, CELLS, 1e-4),
        (CELLS, SPECTRAL, 1e-4),
        (CELLS, NODES, 1e-4),
        (NODES, CELLS, 1e-4),
    ],
    ids=name_of,
)
def test_another_scheme_goes_on(first, second, bound):
    exact = go(PROBLEM, SPECTRAL, [0.0, 0.1, 0.2])
    _, run = in_two_halves(PROBLEM, first, second)
    assert np.abs(run.spectrum.values - exact.spectrum.values[1:]).max() < bound
    # The entropy of cell means is that of a density smoothed over the cells.
    of_means = 2e-3 if second is CELLS else bound
    assert np.abs(run.entropy.values - exact.entropy.values[1:]).max() < of_means
    assert np.abs(run.mass - 1).max() < 1e-13
    assert_closed(exact, run, bound)


def test_three_schemes_in_turn():
    run = go(PROBLEM, SPECTRAL, [0.0, 0.1])
    for scheme, end in ((NODES, 0.2), (SPECTRAL, 0.3)):
        run = go(PROBLEM, scheme, [run.time.values[-1], end], initial=run)
    whole = go(PROBLEM, SPECTRAL, [0.0, 0.2, 0.3])
    assert np.abs(run.spectrum.values - whole.spectrum.values[1:]).max() < 1e-8
    assert_closed(whole, run, 1e-8)


def test_tokens_go_on_as_points_of_characteristics_without_noise():
    first = go(PROBLEM, sf.Particles(count=20, dt=None, seed=1), [0.0, 0.2])
    nodes = go(PROBLEM, NODES, [0.2, 0.3], initial=first)
    tokens = go(PROBLEM, sf.Particles(dt=None), [0.2, 0.3], initial=first)
    assert np.abs(nodes.position - tokens.position).max() < 1e-8
    for scheme in (SPECTRAL, CELLS):  # they need a density
        with pytest.raises(InputError, match="bandwidth"):
            go(PROBLEM, scheme, [0.3], initial=first)


@pytest.mark.parametrize("scheme", [sf.Spectral(lmax=63), "auto"], ids=["Spectral", "auto"])
def test_nodes_that_no_series_resolves_are_not_taken_for_one(scheme):
    # Zeros beyond the degree that their number gives would pass for a spectrum that has decayed.
    problem = sf.TransformerPDE(sf.FixedHeads(2 * np.eye(3)), WIDE)
    first = go(problem, NODES, [0.0, 2.0], rtol=1e-4)
    try:
        run = go(problem, scheme, [2.0, 2.1], rtol=1e-4, initial=first)
    except sf.SphereflowError:
        return
    if "stage" in run and run.stage.values[0] == 1:  # carried on as nodes
        assert np.array_equal(run.position.values[0], first.position.values[-1])
        return
    assert run.attrs["status"] == "under-resolved" or float(run.minimum.min()) > -1e-3


@pytest.mark.parametrize("scheme", [SPECTRAL, NODES, CELLS], ids=name_of)
def test_a_file_is_as_good_as_a_dataset(scheme, tmp_path):
    path = tmp_path / "first.nc"
    first = go(PROBLEM, scheme, [0.0, 0.05], rtol=1e-5, output=path)
    from_memory = go(PROBLEM, scheme, [0.05, 0.06], rtol=1e-5, initial=first)
    from_file = go(PROBLEM, scheme, [0.05, 0.06], rtol=1e-5, initial=str(path))
    for name in from_memory.data_vars:
        assert np.array_equal(from_memory[name], from_file[name], equal_nan=True), name
    assert json.loads(from_file.attrs["experiment"])["run"]["initial"] == str(path)


# Errors


def test_a_run_must_end_after_the_initial_one():
    first = go(PROBLEM, SPECTRAL, [0.0, 0.1], rtol=1e-4)
    for t_end in (0.1, 0.05):
        with pytest.raises(InputError, match=r"t_end must lie after 0\.1"):
            sf.solve(PROBLEM, t_end=t_end, scheme=SPECTRAL, initial=first)
    with pytest.raises(InputError, match="save_at must lie between"):
        go(PROBLEM, SPECTRAL, [0.05, 0.2], initial=first)
    heads = sf.TabulatedHeads([0.15, 0.5], np.zeros((2, 1, 3, 3)))
    with pytest.raises(InputError, match="tabulated"):
        go(PROBLEM.with_heads(heads), SPECTRAL, [0.2], initial=first)
    default = sf.solve(PROBLEM, t_end=0.2, scheme=SPECTRAL, initial=first, rtol=1e-4)
    assert np.allclose(default.time, np.linspace(0.1, 0.2, 101), rtol=0, atol=1e-15)


def test_datasets_that_hold_no_end_are_refused():
    spectral = go(PROBLEM, SPECTRAL, [0.0, 0.05, 0.1], rtol=1e-6)
    two_paths = sf.Particles(count=5, dt=0.1, seed=1, paths=2)
    statistics = sf.Particles(count=5, dt=0.1, seed=1, store="statistics")
    for initial, word in (
        (spectral.isel(time=slice(0, 2)), "must end where its run ended"),
        (spectral.drop_vars("final_spectrum"), "must hold the end"),
        (spectral[["energy"]], "must hold the end"),
        (go(PROBLEM, two_paths, [0.0, 0.1]), "2 paths"),
        (go(PROBLEM, statistics, [0.0, 0.1]), "must hold the end"),
        (3.0, "must be a dataset or a path"),
        ([spectral], "must be a dataset or a path"),
        ("missing.nc", "cannot be read"),
        (__file__, "cannot be read"),
    ):
        with pytest.raises(InputError, match=word):
            go(PROBLEM, SPECTRAL, [0.2], initial=initial)


def test_a_dataset_without_time_is_refused():
    with pytest.raises(InputError, match="initial"):
        go(PROBLEM, SPECTRAL, [0.2], initial=xarray.Dataset({"a": 1.0}))
