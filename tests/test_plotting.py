"""The figure of a run: what is drawn, on data whose integrals are known."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
import xarray as xr
from matplotlib.colors import LogNorm

from sphereflow.errors import InputError
from sphereflow.plotting import plot
from sphereflow.snapshots import _close_sphere, _colour_scale


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
    rate = run["dissipation"].values
    assert axes.get_yscale() == "log"
    np.testing.assert_array_equal(drawn["dissipation $R$"][rate > 0], rate[rate > 0])
    np.testing.assert_array_equal(drawn["$-R$, where $R<0$"][rate < 0], -rate[rate < 0])


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
    longitude, latitude, values = _close_sphere(lon, lat, field)
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
    norm, extend = _colour_scale(peaked)
    assert isinstance(norm, LogNorm) and extend == "min"
    assert (norm.vmin, norm.vmax) == (pytest.approx(0.1 / (4 * np.pi)), 60.0)
    norm, extend = _colour_scale(np.stack([np.array([[0.01, 0.2]]), np.array([[0.05, 0.1]])]))
    assert (norm.vmin, norm.vmax, extend) == (0.0, 0.2, "neither")
