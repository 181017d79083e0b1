"""The figure of a run: what is drawn, on data whose integrals are known."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.quiver import Quiver
from scipy.special import eval_legendre
from typer.testing import CliRunner

import sphereflow as sf
from sphereflow.cli import app
from sphereflow.errors import InputError
from sphereflow.figures.fields import density_field
from sphereflow.figures.map_projections import Mollweide, Orthographic
from sphereflow.figures.plot import plot
from sphereflow.figures.slopes import head_count, late_slopes
from sphereflow.figures.snapshots import colour_scale, draw_snapshots
from sphereflow.figures.values_on_sphere import close_sphere
from sphereflow.sphere import from_degrees


def synthetic(count: int = 41, *, attention: bool = True, sign_change: bool = False) -> xr.Dataset:
    """E = 1/2 + ∫∂_tE − ∫R with ∂_tE = 0.3 e^{−2t} and R = e^{−t} (− 1/10), on descent."""
    time = np.linspace(0.0, 4.0, count) if count > 1 else np.zeros(1)
    lat, lon = np.linspace(-82.5, 82.5, 12), np.arange(0.0, 360.0, 15.0)
    bump = np.exp(np.cos(np.radians(lon)) * np.cos(np.radians(lat))[:, None])
    density = bump * np.exp(-time)[:, None, None] + 0.01
    run = xr.Dataset(
        {"density": (("time", "lat", "lon"), density), "mass": ("time", np.ones(count))},
        {"time": time, "lat": lat, "lon": lon},
        {"title": "A synthetic run", "status": "completed"},
    )
    run["entropy"] = ("time", 2.5 - np.exp(-time))
    if attention:
        offset = 0.1 if sign_change else 0.0
        run["slope_squared"] = ("time", 0.9 * np.exp(-time))
        run["dissipation"] = ("time", np.exp(-time) - offset)
        run["energy_rate_heads"] = ("time", 0.3 * np.exp(-2 * time))
        heads, transport = 0.15 * (1 - np.exp(-2 * time)), -(1 - np.exp(-time)) + offset * time
        run["energy"] = ("time", 0.5 + heads + transport)
        run["energy_residual"] = ("time", 1e-9 * np.sin(time))
        run.attrs["experiment"] = '{"problem": {"flow": "descent"}}'
    return run


def axes_titled(figure: Any, title: str) -> Any:
    return next(axes for axes in figure.axes if axes.get_title() == title)


def lines(axes: Any) -> dict[str, np.ndarray]:
    return {line.get_label(): line.get_ydata() for line in axes.get_lines()}


def test_the_budget_is_integrated_where_the_run_did_not() -> None:
    run = synthetic()
    drawn = lines(axes_titled(plot(run), "Energy budget"))
    time = run["time"].values
    # Simpson's parabola over half of its interval errs by h^4/24 times the third derivative,
    # with h = 0.1 at most 1e-5 for the first integrand and 4.2e-6 for the second.
    np.testing.assert_allclose(
        drawn[r"$\int \partial_t E\,\mathrm{d}t$"], 0.15 * (1 - np.exp(-2 * time)), atol=1.1e-5
    )
    np.testing.assert_allclose(drawn[r"$s \int R\,\mathrm{d}t$"], np.exp(-time) - 1, atol=4.3e-6)
    np.testing.assert_allclose(drawn["$E(t)-E(0)$"], run["energy"] - 0.5, atol=1e-15)


def test_recorded_integrals_go_before_own_ones() -> None:
    run = synthetic()
    run["energy_transport_integral"] = ("time", np.linspace(0.0, -1.0, 41))
    run["energy_diffusion_integral"] = ("time", np.linspace(0.0, -0.1, 41))
    run["energy_drift_integral"] = ("time", np.zeros(41))
    drawn = lines(axes_titled(plot(run), "Energy budget"))
    np.testing.assert_array_equal(drawn[r"$s \int R\,\mathrm{d}t$"], np.linspace(0.0, -1.0, 41))
    assert "diffusion" in drawn
    assert "drift" not in drawn


def test_negative_dissipation_is_drawn_as_such() -> None:
    run = synthetic(sign_change=True)
    axes = axes_titled(plot(run), "Slope and dissipation rate")
    drawn = lines(axes)
    # One curve with its sign, on an axis that has both.
    assert axes.get_yscale() == "symlog" and (run["dissipation"] < 0).any()
    np.testing.assert_array_equal(drawn["dissipation $R$"], run["dissipation"])
    np.testing.assert_array_equal(drawn["slope $G^2$"], run["slope_squared"])
    # Rounding below zero leaves the axis as it is.
    run = synthetic()
    run["dissipation"][-1] = -1e-17
    assert axes_titled(plot(run), "Slope and dissipation rate").get_yscale() == "log"


def test_the_residual_is_told_with_its_share_of_the_change() -> None:
    run = synthetic()
    change = float(abs(run["energy"] - run["energy"][0]).max())
    largest = float(abs(run["energy_residual"]).max())
    wanted = f"max {largest:.1e}, {largest / change:.1e} of max $|E(t)-E(0)|$"
    texts = [text.get_text() for axes in plot(run).axes for text in axes.texts]
    assert wanted in texts
    labels = lines(axes_titled(plot(run, "budget"), "Energy less its integrals"))
    assert f"with $R$, {wanted}" in labels
    letters = [axes.get_title(loc="left") for axes in plot(run, "budget").axes]
    assert letters == ["(a)", "(b)", "(c)"]


def test_runs_of_equal_heads_are_named_by_what_differs() -> None:
    several = [with_slope(4, 3.0), with_slope(4, 2.0)]
    for run, diffusion in zip(several, (0.1, 0.25), strict=True):
        about = {"heads": {"kind": "x", "count": 4}, "problem": {"diffusion": diffusion}}
        run.attrs["experiment"] = json.dumps(about)
    names = lines(sf.plot(several, "slope").axes[0])
    assert list(names) == ["diffusion = 0.1", "diffusion = 0.25"]
    same = lines(sf.plot([several[0], several[0]], "slope").axes[0])
    assert list(same) == ["run 0", "run 1"]


def test_colours_as_asked() -> None:
    run = synthetic(3)
    figure = plot(run, "density", scale="linear", vmin=0.0, vmax=0.5)
    norm = figure.axes[0].images[0].norm
    assert (norm.vmin, norm.vmax) == (0.0, 0.5)
    # The peak of the density is e + 0.01.
    assert np.nanmax(shown_picture(figure)) == 0.5
    with pytest.raises(InputError, match="above 0"):
        plot(run, "density", scale="log", vmin=0.0)


@pytest.mark.parametrize("count", [1, 2, 3, 41])
@pytest.mark.parametrize("attention", [True, False])
def test_any_number_of_output_times_can_be_drawn(count: int, attention: bool) -> None:
    figure = plot(synthetic(count, attention=attention))
    snapshots = [axes for axes in figure.axes if axes.name == "mollweide"]
    assert len(snapshots) == min(count, 4)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=30)
    assert buffer.getvalue().startswith(b"\x89PNG")


def test_without_attention_entropy_and_mass_are_drawn() -> None:
    titles = [axes.get_title() for axes in plot(synthetic(attention=False)).axes]
    assert "Change of the entropy" in titles
    assert "Energy budget" not in titles


def test_zero_rates_need_no_logarithm() -> None:
    run = synthetic()
    for name in ("slope_squared", "dissipation", "energy_residual"):
        run[name] = 0.0 * run[name]
    axes = axes_titled(plot(run), "Slope and dissipation rate")
    assert axes.get_yscale() == "linear"


def test_chosen_times_and_early_end_are_named() -> None:
    run = synthetic()
    run.attrs["status"] = "under-resolved"
    figure = plot(run, times=[0.0, 2.02])
    titles = [axes.get_title() for axes in figure.axes if axes.name == "mollweide"]
    assert titles == ["t = 0", "t = 2"]
    assert "stopped at t = 4: under-resolved" in figure.get_suptitle()


def test_refusals() -> None:
    with pytest.raises(InputError, match="at most 4"):
        plot(synthetic(), times=[0, 1, 2, 3, 4])
    with pytest.raises(InputError, match=r"density\(time, lat, lon\)"):
        plot(xr.Dataset({"energy": ("time", [1.0])}, {"time": [0.0]}))


@pytest.mark.parametrize("start", [0.0, 7.5, -180.0, -172.5])
def test_the_map_is_closed_and_keeps_values_at_their_longitudes(start: float) -> None:
    lon = start + np.arange(0.0, 360.0, 15.0)
    lat = np.linspace(82.5, -82.5, 12)  # north first
    field = np.cos(np.radians(lon - 50.0)) + np.sin(np.radians(lat))[:, None]
    longitude, latitude, values = close_sphere(lon, lat, field)
    assert np.all(np.diff(longitude) >= 0) and np.all(np.diff(latitude) > 0)
    assert longitude[[0, -1]].tolist() == [-np.pi, np.pi]
    assert latitude[[0, -1]].tolist() == [-np.pi / 2, np.pi / 2]
    np.testing.assert_array_equal(values[:, 0], values[:, -1])
    expected = np.cos(longitude - np.radians(50.0)) + np.sin(latitude)[1:-1, None]
    # Exact at the grid; linear interpolation over at most 15 degrees at the seam.
    np.testing.assert_allclose(values[1:-1, 1:-1], expected[:, 1:-1], atol=1e-14)
    np.testing.assert_allclose(values[1:-1], expected, atol=np.radians(15.0) ** 2 / 8)


def test_colour_scale_is_shared_and_logarithmic_where_peaks_differ() -> None:
    peaked = np.stack([np.array([[0.0, 60.0]]), np.array([[0.05, 0.1]])])
    norm, extend = colour_scale(peaked)
    assert isinstance(norm, LogNorm) and extend == "min"
    assert (norm.vmin, norm.vmax) == (pytest.approx(0.1 / (4 * np.pi)), 60.0)
    norm, extend = colour_scale(np.stack([np.array([[0.01, 0.2]]), np.array([[0.05, 0.1]])]))
    assert (norm.vmin, norm.vmax, extend) == (0.0, 0.2, "neither")


def test_nodes_and_maps_of_one_density_share_their_colours() -> None:
    problem = sf.TransformerPDE(None, sf.VonMisesFisher([0, 0, 1], 4.0), drift=np.zeros((3, 3)))
    schemes = (sf.Spectral(lmax=31), sf.Characteristics(15, 15))
    runs = [sf.solve(problem, t_end=0.1, scheme=one, save_at=[0.0]) for one in schemes]
    figure = Figure()
    rows = draw_snapshots(figure, figure.add_gridspec(1, 1)[0], [(run, [0]) for run in runs])
    shown, nodes = rows[0][0].collections[0], rows[1][0].collections[0]
    assert shown.norm is nodes.norm and len(figure.axes) == 3
    # 4π times the peak of the density is κ/(1 − e^{−2κ})·2 ≈ 2κ.
    assert 0.9 < 4 * np.pi * nodes.get_array().max() / 8.0 < 1.001
    assert nodes.norm.vmax == pytest.approx(8.0 / (4 * np.pi), rel=0.02)


# The kinds of figures, on runs of each scheme


@pytest.fixture(scope="module")
def runs() -> dict[str, xr.Dataset]:
    density = sf.VonMisesFisher([0, 0, 1], 4.0)
    heads = sf.FixedHeads(np.stack([np.diag([2.0, 1.0, 0.5]), np.diag([0.5, 1.0, 2.0])]))
    law = sf.OrnsteinUhlenbeck(target=np.eye(3), sigma=1.0)
    finite = sf.TransformerPDE(heads, density)
    options: dict[str, Any] = {"t_end": 0.2, "save_every": 0.1}
    tokens = {"count": 20, "dt": 0.05, "seed": 1}
    nodes = sf.Characteristics(degree=31)
    return {
        "spectral": sf.solve(
            sf.TransformerPDE(law, density), scheme=sf.Spectral(lmax=15), **options
        ),
        "cells": sf.solve(finite, scheme=sf.FiniteVolume(level=2), **options),
        "nodes": sf.solve(finite, scheme=nodes, **options),
        "tokens": sf.solve(finite, scheme=sf.Particles(**tokens), **options),
        "paths": sf.solve(finite, scheme=sf.Particles(**tokens, paths=3), **options),
    }


def shown_picture(figure: Any, number: int = 0) -> np.ndarray:
    return figure.axes[number].get_images()[0].get_array().filled(np.nan)


@pytest.mark.parametrize("projection", ["mollweide", "orthographic"])
@pytest.mark.parametrize("name", ["spectral", "cells", "nodes", "tokens", "paths"])
def test_density_maps_of_every_scheme(runs: Any, name: str, projection: str) -> None:
    figure = sf.plot(runs[name], "density", projection=projection, times=[0, 0.2])
    maps = [axes for axes in figure.axes if axes.get_images()]
    assert len(maps) == (2 if projection == "mollweide" else 4)
    limits = {axes.get_images()[0].get_clim() for axes in maps}
    assert len(limits) == 1, "all maps have the same colours"
    assert [axes.get_title() for axes in maps][:2] == ["t = 0", "t = 0.2"]
    label = figure.axes[-1].get_ylabel()
    assert "sr$^{-1}$" in label
    assert ("smoothed" in label) == (name in ("tokens", "paths"))


def test_pictures_show_the_values_of_the_run(runs: Any) -> None:
    rows, columns = Mollweide.pixels
    points = Mollweide().pixel_points()
    inside = np.isfinite(points[..., 0])
    # Cells: every pixel has the value of the nearest centre.
    cells = runs["cells"].isel(time=-1)
    picture = shown_picture(sf.plot(runs["cells"], "density", times=[0.2]))
    assert picture.shape == (rows, columns)
    centres = from_degrees(cells["face_lon"].values, cells["face_lat"].values)
    nearest = np.argmax(points[inside] @ centres.T, axis=1)
    np.testing.assert_array_equal(picture[inside], cells["density"].values[nearest])
    # The grid: linear between its values, of a density e^(κz) with |f''| at most κ² f.
    run = runs["spectral"]
    picture = shown_picture(sf.plot(run, "density", times=[0]))
    exact = sf.VonMisesFisher([0, 0, 1], 4.0)(points[inside])
    spacing = np.radians(np.abs(np.diff(run["lat"].values)).max())
    near_pole = np.abs(points[inside][:, 2]) > np.sin(np.radians(run["lat"].values.max()))
    error = np.abs(picture[inside] - exact)
    assert error[~near_pole].max() < spacing**2 / 8 * 20 * exact.max()


def test_smoothing_of_tokens_is_the_heat_kernel_of_the_stated_width(runs: Any) -> None:
    run = runs["tokens"]
    field = density_field(run, 0)
    assert field.smoothing is not None
    tokens = run["position"].isel(time=0).values
    points = sf.VonMisesFisher([0, 0, 1], 4.0).sample(50, seed=3)
    # Σ (2l+1)/4π e^{−l(l+1)h²/2} P_l summed directly; bilinear interpolation of 65 latitudes
    # errs by at most (0.05)²/8 of second derivatives, which are about 1/h² = 80 of the peak.
    kernel = np.zeros((50, len(tokens)))
    for degree in range(33):
        decay = np.exp(-0.5 * field.smoothing**2 * degree * (degree + 1))
        legendre = eval_legendre(degree, points @ tokens.T)
        kernel += (2 * degree + 1) / (4 * np.pi) * decay * legendre
    peak = field.values.max()
    np.testing.assert_allclose(field.at(points), kernel.mean(axis=1), atol=0.05 * peak)


def test_paths_are_chosen_by_their_number(runs: Any) -> None:
    drawn = [sf.plot(runs["paths"], "tokens", times=[0], path=k) for k in range(3)]
    places = [figure.axes[0].collections[0].get_offsets() for figure in drawn]
    assert not np.allclose(places[0], places[1])
    x, y, _ = Mollweide().forward(runs["paths"]["position"].isel(path=2, time=0).values)
    np.testing.assert_allclose(places[2], np.stack([x, y], axis=1), atol=1e-12)


def test_velocity_arrows_follow_the_field(runs: Any) -> None:
    figure = sf.plot(runs["cells"], "velocity", projection="orthographic", lat=0.0, times=[0.2])
    assert "velocity" in figure.get_suptitle()
    quiver = next(c for c in figure.axes[0].collections if isinstance(c, Quiver))
    u, v, seen = quiver.U, quiver.V, ~quiver.Umask
    assert 80 < seen.sum() < 160, "half of 300 arrows"
    now = runs["cells"].isel(time=-1)
    east, north = now["velocity_eastward"].values, now["velocity_northward"].values
    largest = np.hypot(east, north).max()
    drawn = np.hypot(u[seen], v[seen])
    assert 0.7 * largest < drawn.max() <= 1.01 * largest


def test_mobility_and_its_label(runs: Any) -> None:
    picture = shown_picture(sf.plot(runs["cells"], "mobility", times=[0.1]))
    values = runs["cells"]["effective_mobility"].isel(time=1).values
    inside = np.isfinite(picture)
    assert set(np.unique(picture[inside])) <= set(values.tolist())
    figure = sf.plot(runs["spectral"], "mobility")
    assert figure.axes[-1].get_ylabel() == r"effective mobility $b_\mu$ [1]"


def test_budget_figure(runs: Any) -> None:
    run = runs["spectral"]
    figure = sf.plot(run, "budget")
    change = lines(axes_titled(figure, "Energy budget"))
    np.testing.assert_allclose(change["$E(t)-E(0)$"], run["energy"] - run["energy"][0])
    slope_part = change[r"$s \int G^2\,\mathrm{d}t$"]
    np.testing.assert_array_equal(slope_part, run["energy_slope_integral"])
    left = lines(axes_titled(figure, "Energy less its integrals"))
    assert [label.split(",")[0] for label in left] == ["with $R$", "with $G^2$"]
    assert all("[1]" in axes.get_ylabel() for axes in figure.axes)


def with_slope(count: int | None, mean: float) -> xr.Dataset:
    time = np.linspace(0.0, 2.0, 5)
    heads = {"kind": "gaussian_heads"} if count is None else {"kind": "x", "count": count}
    wave = np.where(time < 1.0, 7.0, mean)
    values = np.stack([0.5 * wave, 1.5 * wave])
    return xr.Dataset(
        {"slope_squared": (("path", "time"), values)},
        {"time": time},
        {"experiment": json.dumps({"heads": heads})},
    )


def test_late_slope_against_heads_fits_the_power() -> None:
    several = [with_slope(count, 3.0 / count) for count in (1, 4, 16)] + [with_slope(None, 0.1)]
    assert [head_count(run) for run in several] == [1, 4, 16, None]
    np.testing.assert_allclose(late_slopes(several[1]), [0.375, 1.125])
    figure = sf.plot(several, "slope")
    axes = axes_titled(figure, "Late slope against the number of heads")
    assert any("3 $H^{-1.00}$" in label for label in lines(axes))
    assert "law of heads" in lines(axes)
    assert axes.get_xlabel() == "number of heads $H$ [1]"


def test_heads_of_both_sorts(runs: Any) -> None:
    axes = sf.plot(runs["cells"], "heads").axes[0]
    drawn = lines(axes)
    np.testing.assert_allclose(drawn["largest, weighted mean of 2 heads"], 2.0)
    np.testing.assert_allclose(drawn["smallest, weighted mean of 2 heads"], 0.5)
    left, right = sf.plot(runs["spectral"], "heads").axes
    mean = runs["spectral"]["head_mean"]
    np.testing.assert_array_equal(lines(left)["$D_{yy}$"], mean[:, 1, 1])
    assert len(left.collections) == len(right.collections) == 3, "bands of deviations"
    assert "± standard deviation" in left.get_title()


@pytest.mark.parametrize(
    ("name", "kind", "options", "message"),
    [
        ("spectral", "pie", {}, "kind must be one of 'overview', 'density'"),
        ("spectral", "density", {"projection": "mercator"}, "projection must be one of"),
        ("spectral", "density", {"times": ["a"]}, "times must be an array"),
        ("spectral", "density", {"times": [np.nan]}, "times must be a list of numbers"),
        ("spectral", "density", {"times": [0.0, 7.0]}, "times must be a list of numbers within"),
        ("spectral", "overview", {"lat": 900.0}, "lat must lie between -90 and 90"),
        ("spectral", "density", {"times": []}, "times must be a list of numbers"),
        ("spectral", "budget", {"times": [0]}, "times must be left out"),
        ("spectral", "density", {"path": 2}, "this run has a single path"),
        ("paths", "density", {"path": 3}, "path must be one of 0 to 2"),
        ("spectral", "tokens", {}, "a run with positions"),
        ("tokens", "velocity", {}, "velocity_eastward on a grid or on cells"),
        ("nodes", "mobility", {}, "effective_mobility on a grid or on cells"),
        ("spectral", "density", {"lon": "east"}, "lon must be"),
    ],
)
def test_refused_figures(runs: Any, name: str, kind: str, options: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        sf.plot(runs[name], kind, **options)


def test_only_slopes_are_drawn_of_several_runs(runs: Any) -> None:
    with pytest.raises(InputError, match="one dataset for the kind 'density', got 2"):
        sf.plot([runs["spectral"], runs["cells"]], "density")
    with pytest.raises(InputError, match="got 0"):
        sf.plot([], "slope")
    with pytest.raises(InputError, match="dataset with output times"):
        sf.plot(3)
    with pytest.raises(InputError, match="kind 'budget'"):
        sf.plot(synthetic(attention=False), "budget")
    with pytest.raises(InputError, match="kind 'slope', got run 1"):
        sf.plot([synthetic(), synthetic(attention=False)], "slope")
    with pytest.raises(InputError, match="kind 'heads'"):
        sf.plot(synthetic(), "heads")


@pytest.mark.parametrize("projection", [Mollweide(), Orthographic(200.0, -50.0)])
def test_projections_invert_and_move_vectors(projection: Any) -> None:
    points = np.random.default_rng(1).standard_normal((200, 3))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    x, y, seen = projection.forward(points)
    np.testing.assert_allclose(projection.backward(x, y)[seen], points[seen], atol=1e-7)
    assert np.isnan(projection.backward(np.array(1.5 * projection.width), np.array(0.9))).all()
    # A whole turn about the poles, in small steps, against the difference of the map itself.
    vectors = np.cross([0.0, 0.0, 1.0], points)
    u, _ = projection.arrows(points, vectors)
    step = 1e-5
    turned = points + step * vectors
    ahead, _, _ = projection.forward(turned / np.linalg.norm(turned, axis=1, keepdims=True))
    known = np.isfinite(u)
    np.testing.assert_allclose(u[known], ((ahead - x) / step)[known], atol=2e-3)


def test_mollweide_has_equal_areas() -> None:
    """The share of pixels within a cap is that of its area."""
    points = Mollweide().pixel_points()
    inside = np.isfinite(points[..., 0])
    for axis in np.eye(3):
        share = (points[inside] @ axis > 0.5).mean()
        assert share == pytest.approx(0.25, abs=2e-3)


def test_command_draws_kinds(runs: Any, tmp_path: Path) -> None:
    runs["cells"].to_netcdf(tmp_path / "run.nc")
    figure = tmp_path / "figure.png"
    command = ["plot", str(tmp_path / "run.nc"), "-o", str(figure), "--kind", "density"]
    options = ["--projection", "orthographic", "--times", "0,0.1"]
    done = CliRunner().invoke(app, command + options)
    assert done.exit_code == 0, done.output
    assert figure.read_bytes().startswith(b"\x89PNG")
    wrong = CliRunner().invoke(app, [*command, "--times", "0;1"])
    assert wrong.exit_code == 2 and "--times must be numbers between commas" in wrong.output


def test_notebooks_show_figures_without_pyplot():
    problem = sf.TransformerPDE(None, sf.VonMisesFisher([0, 0, 1], 2.0), diffusion=0.1)
    run = sf.solve(problem, t_end=0.2, scheme=sf.Spectral(15), save_every=0.1, rtol=1e-3)
    for figure in (sf.plot(run), sf.plot(run, "density")):
        assert figure._repr_png_().startswith(b"\x89PNG")
