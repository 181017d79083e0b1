"""Movies: frames, delays, colours, and what is left when writing fails."""

from __future__ import annotations

import io
import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from matplotlib import colormaps
from matplotlib.animation import FFMpegWriter
from PIL import Image
from typer.testing import CliRunner

import sphereflow as sf
from sphereflow.cli import app
from sphereflow.errors import InputError, OutputError


@pytest.fixture(scope="module")
def run() -> xr.Dataset:
    """A bump that moves from +x to −x over the north, on a grid, at six times."""
    time = np.linspace(0.0, 5.0, 6)
    lat, lon = np.linspace(-85.0, 85.0, 18), np.arange(0.0, 360.0, 10.0)
    phi, theta = np.radians(lon), np.radians(lat)[:, None]
    x, z = np.cos(theta) * np.cos(phi), np.sin(theta) * np.ones_like(phi)
    angle = 0.2 * np.pi * time[:, None, None]
    density = np.exp(2.0 * (np.cos(angle) * x + np.sin(angle) * z))
    return xr.Dataset(
        {"density": (("time", "lat", "lon"), density)}, {"time": time, "lat": lat, "lon": lon}
    )


def opened(path: Path) -> Any:
    picture = Image.open(path)
    assert picture.format == "GIF"
    return picture


@pytest.mark.parametrize(("fps", "delay"), [(12.0, 80), (5.0, 200), (50.0, 20)])
def test_one_frame_for_each_time(run: Any, tmp_path: Path, fps: float, delay: int) -> None:
    reports: list[tuple[int, int]] = []
    path = sf.animate(
        run,
        tmp_path / "run.gif",
        fps=fps,
        dpi=30,
        progress=lambda done, count: reports.append((done, count)),
    )
    movie = opened(path)
    assert movie.n_frames == 6
    assert reports == [(k, 6) for k in range(1, 7)]
    assert movie.info["loop"] == 0, "for ever"
    frames = []
    for k in range(6):
        movie.seek(k)
        assert movie.info["duration"] == delay
        frames.append(np.asarray(movie.convert("RGB")).astype(int))
    assert all((a != b).any() for a, b in itertools.pairwise(frames))
    assert list(tmp_path.iterdir()) == [path], "the temporary file is gone"


@pytest.mark.parametrize("frames", [1, 5])
def test_number_of_frames(run: Any, tmp_path: Path, frames: int) -> None:
    movie = opened(
        sf.animate(run, tmp_path / "run.gif", frames=frames, rotate=90.0, dpi=20, fps=10)
    )
    assert movie.n_frames == frames


def test_colours_are_those_of_the_map(run: Any, tmp_path: Path) -> None:
    """The bar and the globe keep the colours of viridis, up to the palette, in all frames."""
    movie = opened(sf.animate(run, tmp_path / "run.gif", dpi=50))
    viridis = np.round(255 * colormaps["viridis"](np.linspace(0, 1, 256))[:, :3])
    for k in range(6):
        movie.seek(k)
        pixels = np.unique(np.asarray(movie.convert("RGB")).reshape(-1, 3).astype(int), axis=0)
        distance = np.abs(viridis[:, None] - pixels).max(axis=2).min(axis=1)
        # 120 colours stand for 256; the ends are exact.
        assert distance.max() <= 6


def test_later_frames_equal_a_figure_of_their_time(run: Any, tmp_path: Path) -> None:
    """Artists that are reused show what new ones would."""
    movie = opened(sf.animate(run, tmp_path / "all.gif", dpi=40))
    movie.seek(5)
    last = np.asarray(movie.convert("RGB")).astype(int)
    sf.animate(run.isel(time=[5, 0]), tmp_path / "one.gif", dpi=40)
    alone = np.asarray(opened(tmp_path / "one.gif").convert("RGB")).astype(int)
    globe = np.s_[20:-20, 10:-60]
    # Colour limits of fewer times may differ by a little, so may single pixels.
    assert (np.abs(last - alone)[globe].max(axis=2) > 40).mean() < 0.02


@pytest.mark.parametrize("kind", ["tokens", "velocity", "mobility"])
@pytest.mark.parametrize("projection", ["orthographic", "mollweide"])
def test_other_kinds(run: Any, tmp_path: Path, kind: str, projection: str) -> None:
    full = run.assign(
        effective_mobility=run["density"] + 1.0,
        velocity_eastward=0.0 * run["density"] + 1.0,
        velocity_northward=run["density"],
    )
    turns = np.stack([np.cos(run["time"]), np.sin(run["time"]), 0 * run["time"]], axis=-1)
    full["position"] = (("time", "token", "axis"), turns[:, None, :])
    path = sf.animate(full, tmp_path / "run.gif", kind=kind, projection=projection, dpi=25)
    assert opened(path).n_frames == 6


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"kind": "budget"}, InputError, "kind must be one of 'density'"),
        ({"projection": "plate"}, InputError, "projection must be one of"),
        ({"fps": 0}, InputError, "fps must be a finite number above 0"),
        ({"fps": 60}, InputError, "fps must be at most 50 in a GIF, got 60"),
        ({"frames": 0}, InputError, "frames must be an integer of at least 1"),
        ({"rotate": np.inf}, InputError, "rotate must be"),
        ({"rotate": 9.0, "projection": "mollweide"}, InputError, "choose 'orthographic'"),
        ({"path": 1}, InputError, "single path"),
        ({"kind": "tokens"}, InputError, "a run with positions"),
        ({"output": "run.avi"}, OutputError, r"must end in .gif or .mp4, got 'run.avi'"),
        ({"output": "none/run.gif"}, OutputError, "does not exist"),
    ],
)
def test_refusals(
    run: Any, tmp_path: Path, monkeypatch: Any, options: Any, error: Any, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error, match=message):
        sf.animate(run, **{"output": "run.gif"} | options)
    assert list(tmp_path.iterdir()) == []


def test_mp4_needs_ffmpeg(run: Any, tmp_path: Path) -> None:
    target = tmp_path / "run.mp4"
    if FFMpegWriter.isAvailable():
        sf.animate(run, target, dpi=33)
        assert target.read_bytes()[4:8] == b"ftyp"
    else:
        with pytest.raises(OutputError, match=r"install ffmpeg or write a \.gif"):
            sf.animate(run, target)


def test_a_movie_that_fails_leaves_the_old_one(run: Any, tmp_path: Path) -> None:
    target = tmp_path / "run.gif"
    target.write_bytes(b"old")

    def give_up(done: int, count: int) -> None:
        if done == 3:
            raise OSError("disk full")

    with pytest.raises(OutputError, match="could not be written"):
        sf.animate(run, target, dpi=20, progress=give_up)
    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]


def test_command(run: Any, tmp_path: Path) -> None:
    run.to_netcdf(tmp_path / "run.nc")
    command = ["animate", str(tmp_path / "run.nc"), "-o", str(tmp_path / "run.gif"), "--frames=2"]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    content = (tmp_path / "run.gif").read_bytes()
    assert opened(io.BytesIO(content)).n_frames == 2  # type: ignore[arg-type]
    again = CliRunner().invoke(app, command)
    assert again.exit_code == 2 and "--overwrite" in again.output
    assert CliRunner().invoke(app, [*command, "--overwrite"]).exit_code == 0
