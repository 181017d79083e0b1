"""Tokens that a user brings: files, normalisation, smoothing, and runs started from them."""

import json
import warnings

import numpy as np
import pytest
import xarray as xr

import sphereflow as sf
from sphereflow.densities.tokens import read_tokens
from sphereflow.describe import to_config
from sphereflow.describe.building import build_object
from sphereflow.describe.registry import DENSITIES
from sphereflow.errors import ConfigurationError, InputError
from sphereflow.experiments.experiment import load_experiment
from sphereflow.sphere import real_to_complex, resize


def unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


POINTS = unit(np.random.default_rng(1).standard_normal((7, 3)))
WEIGHTS = np.arange(1.0, 8.0) / 28


def write_csv(path, heading, columns):
    lines = [",".join(f"{value!r}" for value in row) for row in np.stack(columns, 1).tolist()]
    path.write_text("\n".join([*([heading] if heading else []), *lines]) + "\n")


def write(folder, kind):
    """A file of POINTS, with WEIGHTS where the name says so."""
    file = folder / f"tokens.{kind.split()[0]}"
    if kind == "npy":
        np.save(file, POINTS)
    elif kind == "npz":
        np.savez(file, positions=POINTS)
    elif kind == "npz weights":
        np.savez(file, positions=POINTS, weights=WEIGHTS)
    elif kind == "csv":
        write_csv(file, "x,y,z", POINTS.T)
    elif kind == "csv bare":
        write_csv(file, None, POINTS.T)
    elif kind == "csv bare weights":
        write_csv(file, None, [*POINTS.T, WEIGHTS])
    elif kind == "csv weights":  # columns in any order, others left alone, any case
        write_csv(file, "id, Weight, Z,x,y", [WEIGHTS * 0, WEIGHTS, *POINTS.T[[2, 0, 1]]])
    elif kind == "nc":
        # The last time of the first path, whatever the order of the dimensions.
        position = xr.DataArray(np.zeros((3, 2, 4, 7)), dims=("axis", "path", "time", "token"))
        position[:, 0, -1] = POINTS.T
        position.to_dataset(name="position").to_netcdf(file)
    else:
        position = xr.DataArray(POINTS, dims=("token", "axis")).to_dataset(name="position")
        position.assign_coords(token_weight=("token", WEIGHTS)).to_netcdf(file)
    return file


KINDS = ["npy", "npz", "csv", "csv bare", "nc"]
WEIGHTED = ["npz weights", "csv bare weights", "csv weights", "nc weights"]


class TestFiles:
    @pytest.mark.parametrize("kind", KINDS + WEIGHTED)
    def test_every_kind_is_read(self, tmp_path, kind):
        file = write(tmp_path, kind)
        positions, weights = read_tokens(file)
        np.testing.assert_array_equal(positions, POINTS)
        if kind in WEIGHTED:
            np.testing.assert_array_equal(weights, WEIGHTS)
        else:
            assert weights is None
        density = sf.EmpiricalDensity(str(file))
        np.testing.assert_allclose(density.positions, POINTS, atol=1e-15)
        expected = WEIGHTS if kind in WEIGHTED else np.full(7, 1 / 7)
        np.testing.assert_allclose(density.weights, expected, rtol=1e-15)

    def test_weights_given_go_before_those_of_the_file(self, tmp_path):
        density = sf.EmpiricalDensity(write(tmp_path, "npz weights"), np.ones(7))
        np.testing.assert_allclose(density.weights, 1 / 7, rtol=1e-15)

    def test_a_run_can_be_continued_from_its_file(self, tmp_path):
        problem = sf.TransformerPDE(sf.FixedHeads(np.eye(3)), sf.EmpiricalDensity(POINTS, WEIGHTS))
        scheme = sf.Particles(dt=0.125)
        whole = sf.solve(problem, t_end=1.0, scheme=scheme, save_at=[1.0])
        half = sf.solve(problem, t_end=0.5, scheme=scheme, save_at=[0.0, 0.5])
        half.to_netcdf(tmp_path / "half.nc")
        later = sf.TransformerPDE(problem.heads, sf.EmpiricalDensity(tmp_path / "half.nc"))
        rest = sf.solve(later, t_end=0.5, scheme=scheme, save_at=[0.5])
        np.testing.assert_allclose(rest.position, whole.position, atol=1e-14)

    def test_a_csv_with_a_byte_order_mark(self, tmp_path):
        # As spreadsheets write it.
        file = tmp_path / "tokens.csv"
        file.write_bytes("\ufeffx,y,z\n1,0,0\n".encode())
        np.testing.assert_array_equal(read_tokens(file)[0], [[1.0, 0.0, 0.0]])

    @pytest.mark.parametrize(
        ("name", "content", "words"),
        [
            ("tokens.md", b"", "'.*tokens.md'; convert"),
            ("missing.csv", None, "No such file"),
            ("a.csv", b"", "it is empty"),
            ("a.csv", b"x,y\n1,0\n", "columns x, y, z or lat, lon are wanted"),
            ("a.csv", b"1,0\n", "2 columns"),
            ("a.csv", b"x,y,z\n1,0,zero\n", "cannot be read"),
            ("a.csv", b"x,y,z\n", "cannot be read"),
            ("a.csv", b"x,y,z\n1,0\n", "cannot be read"),
            ("a.npy", b"", "cannot be read"),
            ("a.npy", b"nonsense", "cannot be read"),
            ("a.npz", b"", "cannot be read"),
            ("a.npz", b"PK\x03\x04 cut off", "cannot be read"),
            ("a.nc", b"nonsense", "cannot be read"),
        ],
    )
    @pytest.mark.filterwarnings("ignore:loadtxt")
    def test_files_without_tokens_are_refused(self, tmp_path, name, content, words):
        file = tmp_path / name
        if content is not None:
            file.write_bytes(content)
        with pytest.raises(InputError, match=words):
            sf.EmpiricalDensity(file)

    def test_arrays_of_other_names_are_refused(self, tmp_path):
        np.savez(tmp_path / "a.npz", points=POINTS)
        with pytest.raises(InputError, match="no array 'positions' but points"):
            read_tokens(tmp_path / "a.npz")
        xr.Dataset({"density": ("time", [1.0])}).to_netcdf(tmp_path / "a.nc")
        with pytest.raises(InputError, match="no variable position"):
            read_tokens(tmp_path / "a.nc")


class TestPositions:
    def test_lengths_are_normalised_with_a_warning(self):
        points = POINTS.copy()
        points[3] *= 2.5
        points[5] *= 1e-200
        with pytest.warns(UserWarning, match=r"2 of 7 positions.*first is row 3 of length 2\.5"):
            density = sf.EmpiricalDensity(points)
        np.testing.assert_allclose(density.positions, POINTS, atol=1e-15)

    def test_round_off_is_normalised_silently(self):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            density = sf.EmpiricalDensity(POINTS.astype(np.float32))
        length = np.linalg.norm(density.positions, axis=1)
        np.testing.assert_allclose(length, 1.0, rtol=1e-15)

    def test_large_numbers_do_not_overflow(self):
        with pytest.warns(UserWarning, match="row 0 of length"):
            density = sf.EmpiricalDensity([[1e308, 1e308, 1e308]])
        np.testing.assert_allclose(density.positions, np.sqrt([[1 / 3] * 3]), rtol=1e-15)

    def test_one_token_may_be_a_vector(self):
        assert sf.EmpiricalDensity([0.0, 0.0, 1.0]).positions.shape == (1, 3)

    @pytest.mark.parametrize(
        ("positions", "message"),
        [
            ([[1, 0, 0], [0, 0, 0]], "row 1 is"),
            ([[1, 0, 0], [0, np.nan, 1]], r"row 1 is \[0.0, nan, 1.0\]"),
            ([[np.inf, 0, 0]], "row 0 is"),
            (np.zeros((0, 3)), r"\(n, 3\) with n at least 1, got \(0, 3\)"),
            (np.ones((2, 2)), r"got \(2, 2\)"),
            (np.ones((2, 3, 3)), "must have shape"),
            (None, "real numbers"),
            ([[1j, 0, 0]], "real numbers"),
        ],
    )
    def test_bad_positions_are_refused(self, positions, message):
        with pytest.raises(InputError, match=message):
            sf.EmpiricalDensity(positions)

    @pytest.mark.parametrize("weights", [[1.0] * 6, [-1.0] + [1.0] * 6, [0.0] * 7, [np.nan] * 7])
    def test_bad_weights_are_refused(self, weights):
        with pytest.raises(InputError, match="weights must be"):
            sf.EmpiricalDensity(POINTS, weights)

    @pytest.mark.parametrize("bandwidth", [0.0, -1.0, np.nan, "wide"])
    def test_bad_bandwidths_are_refused(self, bandwidth):
        with pytest.raises(InputError, match="bandwidth must be"):
            sf.EmpiricalDensity(POINTS, bandwidth=bandwidth)


class TestSmoothing:
    @pytest.mark.parametrize("width", [1.5, 0.3, 0.05])
    def test_one_token_is_von_mises_fisher(self, width):
        # Concentration 1/h²: the same density and the same spectrum.
        centre = POINTS[0]
        empirical = sf.EmpiricalDensity(centre, bandwidth=width)
        smooth = sf.VonMisesFisher(centre, width**-2)
        near = unit(centre + width * np.random.default_rng(2).standard_normal((50, 3)))
        np.testing.assert_allclose(empirical(near), smooth(near), rtol=1e-11)
        one, two = empirical.resolved_spectrum(), smooth.resolved_spectrum()
        degree = int(np.sqrt(max(one.size, two.size) * 2))
        assert np.abs(resize(one, degree) - resize(two, degree)).max() < 1e-13

    def test_weighted_sum(self):
        empirical = sf.EmpiricalDensity(POINTS, WEIGHTS, bandwidth=0.4)
        components = [sf.VonMisesFisher(x, 0.4**-2) for x in POINTS]
        mixture = sf.Mixture(components, WEIGHTS)
        x = unit(np.random.default_rng(3).standard_normal((4, 5, 3)))
        np.testing.assert_allclose(empirical(x), mixture(x), rtol=1e-12)
        np.testing.assert_allclose(empirical.log_density(x), np.log(mixture(x)), atol=1e-12)

    def test_unit_mass_and_spectrum_on_a_grid(self):
        empirical = sf.EmpiricalDensity(POINTS, WEIGHTS, bandwidth=0.4)
        grid = sf.SphereGrid(63)
        values = empirical(grid.points)
        assert grid.integrate(values) == pytest.approx(1.0, abs=1e-13)
        coefficients = resize(grid.analysis(values), 40)
        assert np.abs(coefficients - resize(empirical.resolved_spectrum(), 40)).max() < 1e-13

    def test_without_bandwidth_it_is_no_density(self):
        density = sf.EmpiricalDensity(POINTS)
        for use in (density, density.log_density, lambda x: density.resolved_spectrum()):
            with pytest.raises(InputError, match="only with a bandwidth"):
                use(POINTS)
        problem = sf.TransformerPDE(sf.FixedHeads(np.eye(3)), density)
        with pytest.raises(InputError, match="only with a bandwidth"):
            sf.solve(problem, t_end=0.1, scheme=sf.Spectral(lmax=15))

    def test_spectral_scheme_starts_from_the_smoothed_density(self):
        density = sf.EmpiricalDensity(POINTS, WEIGHTS, bandwidth=0.4)
        problem = sf.TransformerPDE(sf.FixedHeads(np.eye(3)), density, flow="descent")
        run = sf.solve(problem, t_end=0.1, scheme=sf.Spectral(lmax=47), save_at=[0.0, 0.1])
        assert run.attrs["status"] == "completed"
        # The mean token of a von Mises–Fisher density is (coth κ − 1/κ) times its centre.
        kappa = 0.4**-2
        expected = (1 / np.tanh(kappa) - 1 / kappa) * WEIGHTS @ POINTS
        np.testing.assert_allclose(run.first_moment[0], expected, atol=1e-12)
        degree = int(run.degree[-1])
        start = resize(density.resolved_spectrum(), degree)
        saved = real_to_complex(run.spectrum.values[0])
        assert np.abs(saved - start).max() < 1e-12


class TestSample:
    COUNT = 20_000

    def test_tokens_are_drawn_by_their_weights(self):
        # Four standard errors of the frequencies.
        drawn = sf.EmpiricalDensity(POINTS, WEIGHTS).sample(self.COUNT, seed=1)
        density = sf.EmpiricalDensity(POINTS, WEIGHTS)
        share = np.array([(drawn == x).all(axis=1).mean() for x in density.positions])
        assert share.sum() == 1.0
        error = np.sqrt(WEIGHTS * (1 - WEIGHTS) / self.COUNT)
        assert (np.abs(share - WEIGHTS) < 4 * error).all()

    @pytest.mark.parametrize("points", [POINTS, [[0, 0, 1.0]], [[0, 0, -1.0]]])
    def test_smoothed_draws_have_the_moments_of_the_density(self, points):
        # Degree by degree: first moments A₁ x̄, and E[yyᵀ] − I/3 = A₂ (mean of xxᵀ − I/3) with
        # A₁ = coth κ − 1/κ, A₂ = 1 − 3 A₁/κ.
        density = sf.EmpiricalDensity(points, bandwidth=0.5)
        drawn = density.sample(self.COUNT, seed=2)
        np.testing.assert_allclose(np.linalg.norm(drawn, axis=1), 1.0, rtol=1e-14)
        x, kappa = density.positions, 4.0
        first = 1 / np.tanh(kappa) - 1 / kappa
        error = drawn.std(axis=0) / np.sqrt(self.COUNT)
        assert (np.abs(drawn.mean(axis=0) - first * x.mean(axis=0)) < 4 * error).all()
        outer = np.einsum("ni,nj->nij", drawn, drawn)
        expected = (1 - 3 * first / kappa) * (x.T @ x / len(x) - np.eye(3) / 3) + np.eye(3) / 3
        error = outer.std(axis=0) / np.sqrt(self.COUNT)
        assert (np.abs(outer.mean(axis=0) - expected) < 4 * error).all()

    @pytest.mark.parametrize("bandwidth", [None, 0.3])
    def test_seeds(self, bandwidth):
        density = sf.EmpiricalDensity(POINTS, WEIGHTS, bandwidth)
        np.testing.assert_array_equal(density.sample(50, seed=3), density.sample(50, seed=3))
        assert not np.array_equal(density.sample(50, seed=3), density.sample(50, seed=4))
        assert density.sample(0, seed=3).shape == (0, 3)


TOML = """
[density]
kind = "empirical_density"
positions = "{name}"
{more}

[heads]
kind = "fixed_heads"
logits = [[[1, 0, 0], [0, 1, 0], [0, 0, 1]]]

[scheme]
kind = "particles"
dt = 0.05

[run]
t_end = 0.1
save_at = [0.0, 0.1]
"""


class TestExperiments:
    @pytest.mark.parametrize("kind", ["csv weights", "npy"])
    def test_files_are_found_beside_the_experiment(self, tmp_path, kind, monkeypatch):
        file = write(tmp_path, kind)
        (tmp_path / "test.toml").write_text(TOML.format(name=file.name, more=""))
        monkeypatch.chdir("/")
        run = load_experiment(tmp_path / "test.toml").solve()
        density = sf.EmpiricalDensity(POINTS, WEIGHTS if kind == "csv weights" else None)
        problem = sf.TransformerPDE(sf.FixedHeads(np.eye(3)), density)
        expected = sf.solve(problem, t_end=0.1, scheme=sf.Particles(dt=0.05), save_at=[0.0, 0.1])
        np.testing.assert_array_equal(run.position, expected.position)
        np.testing.assert_array_equal(run.token_weight, expected.token_weight)

    def test_a_run_from_a_file_can_be_repeated(self, tmp_path):
        write(tmp_path, "npz weights")
        (tmp_path / "test.toml").write_text(TOML.format(name="tokens.npz", more=""))
        first = load_experiment(tmp_path / "test.toml").solve(output=tmp_path / "run.nc")
        again = load_experiment(tmp_path / "run.nc").solve()
        np.testing.assert_array_equal(first.position, again.position)
        np.testing.assert_array_equal(first.energy, again.energy)

    def test_points_of_a_list_are_repeated_to_the_last_bit(self):
        # 49 equal weights do not add up to 1 exactly, and rescaled vectors move by an ulp.
        points = np.random.default_rng(5).standard_normal((49, 3))
        with pytest.warns(UserWarning, match="normalised"):
            density = sf.EmpiricalDensity(points)
        rebuilt = build_object(json.loads(json.dumps(to_config(density))), DENSITIES, "density")
        np.testing.assert_array_equal(rebuilt.weights, density.weights)
        np.testing.assert_array_equal(rebuilt.positions, density.positions)

    def test_a_path_may_contain_a_colon(self, tmp_path):
        folder = tmp_path / "run 12:30"
        folder.mkdir()
        density = sf.EmpiricalDensity(write(folder, "npy"))
        rebuilt = build_object(to_config(density), DENSITIES, "density")
        np.testing.assert_array_equal(rebuilt.positions, density.positions)

    def test_bandwidth_and_errors_reach_the_file(self, tmp_path):
        file = write(tmp_path, "npy")
        (tmp_path / "test.toml").write_text(TOML.format(name=file.name, more="bandwidth = 0.3"))
        experiment = load_experiment(tmp_path / "test.toml")
        assert experiment.problem.density.bandwidth == 0.3
        (tmp_path / "test.toml").write_text(TOML.format(name="other.npy", more=""))
        with pytest.raises(ConfigurationError, match=r"other\.npy"):
            load_experiment(tmp_path / "test.toml")
