"""The page: what it embeds, and what a real browser makes of it."""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from matplotlib import colormaps
from matplotlib.colors import LogNorm, Normalize
from PIL import Image
from typer.testing import CliRunner

import sphereflow as sf
from sphereflow.cli import app
from sphereflow.errors import InputError, OutputError

TITLE = "A </script><b>bump</b> & more"
# Debian, Ubuntu, Fedora and macOS; none is installed for the tests.
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
MACOS = "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome"
BROWSER = next(filter(None, map(shutil.which, (*NAMES, MACOS))), None)
needs_browser = pytest.mark.skipif(BROWSER is None, reason="no Chromium or Chrome is installed")


def bump(rows: int = 24, times: int = 5, concentration: float = 1.0) -> xr.Dataset:
    """A density that turns about the y axis with t."""
    time = np.linspace(0.0, 2.0, times)
    lat = -90.0 + 180.0 * (np.arange(rows) + 0.5) / rows
    lon = np.arange(0.0, 360.0, 180.0 / rows)
    phi, theta = np.radians(lon), np.radians(lat)[:, None]
    x, z = np.cos(theta) * np.cos(phi), np.sin(theta) * np.ones_like(phi)
    angle = time[:, None, None]
    density = np.exp(concentration * (np.cos(angle) * x + np.sin(angle) * z))
    return xr.Dataset(
        {"density": (("time", "lat", "lon"), density)},
        {"time": time, "lat": lat, "lon": lon},
        {"title": TITLE},
    )


def with_tokens(run: xr.Dataset, count: int) -> xr.Dataset:
    generator = np.random.default_rng(5)
    positions = generator.standard_normal((run.sizes["time"], count, 3))
    positions /= np.linalg.norm(positions, axis=-1, keepdims=True)
    return run.assign(position=(("time", "token", "axis"), positions))


def embedded(path: Path) -> dict[str, Any]:
    page = path.read_text(encoding="utf-8")
    found = re.search(r'<script id="data" type="application/json">(.*?)</script>', page, re.S)
    assert found is not None
    return json.loads(found.group(1))


def decoded(data: dict[str, Any]) -> np.ndarray:
    """The maps in sr⁻¹."""
    steps = np.frombuffer(base64.b64decode(data["maps"]), dtype=np.uint8)
    norm = (LogNorm if data["logarithmic"] else Normalize)(data["low"], data["high"])
    values = np.asarray(norm.inverse(steps / 255.0))
    return values.reshape(len(data["times"]), data["height"], data["width"])


@pytest.mark.parametrize("concentration", [0.5, 4.0])
def test_maps_are_the_density_within_a_step(tmp_path: Path, concentration: float) -> None:
    # At 90 rows the page has the latitudes of the run, and every second longitude is between.
    run = bump(90, 3, concentration)
    data = embedded(sf.view(run, tmp_path / "view.html"))
    assert data["times"] == [0.0, 1.0, 2.0]
    assert (data["height"], data["width"]) == (90, 180)
    values = decoded(data)
    lat = np.radians(-90.0 + 2.0 * (np.arange(90) + 0.5))[:, None]
    lon = np.radians(-180.0 + 2.0 * (np.arange(180) + 0.5))
    angle = np.array(data["times"])[:, None, None]
    exponent = np.cos(angle) * np.cos(lat) * np.cos(lon) + np.sin(angle) * np.sin(lat)
    # Between longitudes of 2 degrees linear interpolation errs by h²/8 (κ² + κ).
    between = np.radians(2.0) ** 2 / 8.0 * (concentration**2 + concentration)
    density = np.clip(np.exp(concentration * exponent), data["low"], data["high"])
    assert data["high"] == run["density"].max()
    if data["logarithmic"]:
        step = np.log(data["high"] / data["low"]) / 255.0
        assert np.abs(np.log(values / density)).max() < 0.5 * step + between
    else:
        step = (data["high"] - data["low"]) / 255.0
        assert np.abs(values - density).max() < 0.5 * step + between * data["high"]


def test_tokens_are_kept_as_floats(tmp_path: Path) -> None:
    run = with_tokens(bump(), 7)
    data = embedded(sf.view(run, tmp_path / "view.html"))
    points = np.frombuffer(base64.b64decode(data["points"]["positions"]), dtype="<f4")
    np.testing.assert_allclose(points.reshape(5, 7, 3), run["position"].values, atol=1e-7)
    assert data["points"]["count"] == 7
    assert data["note"] == ""


def test_large_runs_are_thinned_out_and_say_so(tmp_path: Path) -> None:
    run = with_tokens(bump(12, 600), 3000)
    path = sf.view(run, tmp_path / "view.html")
    assert path.stat().st_size < 10e6
    data = embedded(path)
    count = len(data["times"])
    assert count < 600 and data["times"][0] == 0.0 and data["times"][-1] == 2.0
    points = data["points"]["count"]
    assert data["note"] == f"{count} of 600 output times. {points} of 3000 tokens."


def test_colours_ticks_and_title(tmp_path: Path) -> None:
    path = sf.view(bump(concentration=4.0), tmp_path / "view.html")
    page, data = path.read_text(encoding="utf-8"), embedded(path)
    assert data["title"] == TITLE
    assert "<title>A &lt;/script&gt;&lt;b&gt;bump" in page
    assert data["label"] == "density [sr⁻¹]"
    colours = np.frombuffer(base64.b64decode(data["colours"]), dtype=np.uint8).reshape(256, 3)
    viridis = np.round(255 * colormaps["viridis"](np.arange(256))[:, :3])
    np.testing.assert_array_equal(colours, viridis)
    assert all(0.0 <= share <= 1.0 for share, _ in data["ticks"])
    assert len(data["ticks"]) >= 3


def test_the_page_asks_no_server(tmp_path: Path) -> None:
    page = sf.view(bump(), tmp_path / "view.html").read_text(encoding="utf-8")
    assert "http://" not in page and "https://" not in page
    assert not re.search(r"<(script|img|link)[^>]*\b(src|href)=", page)
    assert "default-src 'none'" in page
    assert "@DATA@" not in page and "@TITLE@" not in page


def test_runs_of_several_paths_and_smoothed_tokens(tmp_path: Path) -> None:
    heads, density = sf.FixedHeads(np.eye(3)), sf.VonMisesFisher([0, 0, 1], 4.0)
    scheme = sf.Particles(count=10, dt=0.1, seed=1, paths=2)
    run = sf.solve(sf.TransformerPDE(heads, density), t_end=0.2, scheme=scheme, save_every=0.1)
    first = embedded(sf.view(run, tmp_path / "first.html"))
    second = embedded(sf.view(run, tmp_path / "second.html", path=1))
    assert first["points"]["positions"] != second["points"]["positions"]
    assert "tokens smoothed over 0.11 rad [sr⁻¹]" in first["label"]
    with pytest.raises(InputError, match="path must be one of 0 to 1"):
        sf.view(run, tmp_path / "third.html", path=2)


@pytest.mark.filterwarnings("default::FutureWarning")
def test_the_older_names_work_with_a_warning(tmp_path: Path) -> None:
    heads, density = sf.FixedHeads(np.eye(3)), sf.VonMisesFisher([0, 0, 1], 4.0)
    scheme = sf.Particles(count=10, dt=0.1, seed=1, paths=2)
    run = sf.solve(sf.TransformerPDE(heads, density), t_end=0.1, scheme=scheme, save_every=0.1)
    expected = sf.view(run, tmp_path / "new.html", path=1).read_text(encoding="utf-8")
    with pytest.warns(FutureWarning, match="which= is now path=") as caught:
        older = sf.view(run, tmp_path / "old.html", which=1)
    assert caught[0].filename == __file__
    assert older.read_text(encoding="utf-8") == expected
    with pytest.warns(FutureWarning, match="path= for the file to write is now output="):
        assert sf.view(run, path=tmp_path / "named.html").name == "named.html"
    with pytest.warns(FutureWarning, match="which= is now path="):
        sf.animate(run, tmp_path / "old.gif", which=1, kind="tokens", dpi=20)
    with (
        pytest.warns(FutureWarning),
        pytest.raises(InputError, match="which must be left out beside path, got 0"),
    ):
        sf.view(run, tmp_path / "both.html", path=1, which=0)
    with pytest.raises(InputError, match="output must be the file to write"):
        sf.animate(run)


def test_refusals(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"must end in \.html"):
        sf.view(bump(), tmp_path / "view.png")
    with pytest.raises(InputError, match="lon must be a finite number"):
        sf.view(bump(), tmp_path / "view.html", lon=np.nan)
    with pytest.raises(InputError, match="must be a dataset"):
        sf.view("run.nc", tmp_path / "view.html")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="density along characteristics or a spectrum"):
        sf.view(bump().drop_vars("density"), tmp_path / "view.html")
    assert list(tmp_path.iterdir()) == []


def test_command(tmp_path: Path) -> None:
    bump().to_netcdf(tmp_path / "run.nc")
    command = ["view", str(tmp_path / "run.nc"), "-o", str(tmp_path / "view.html")]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    assert embedded(tmp_path / "view.html")["title"] == TITLE
    again = CliRunner().invoke(app, command)
    assert again.exit_code == 2 and "--overwrite" in again.output


# In a real browser


def browse(page: Path, folder: Path, *options: str, frame: int = 0) -> tuple[str, str]:
    """Standard output of a headless browser that opens the page, and what its console said."""
    assert BROWSER is not None
    command = [BROWSER, "--headless", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
    command += ["--disable-quic", "--no-first-run", "--disable-background-networking"]
    command += ["--disable-component-update", "--disable-sync", "--enable-logging=stderr"]
    command += [f"--user-data-dir={folder / 'profile'}", "--virtual-time-budget=3000"]
    command += ["--window-size=700,600", "--hide-scrollbars", *options]
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        command.append("--no-sandbox")  # Chromium refuses to sandbox the superuser
    done = subprocess.run(
        [*command, f"{page.as_uri()}#frame={frame}"],
        capture_output=True,
        timeout=60,
        check=True,
        encoding="utf-8",
        errors="replace",
    )
    said = [line for line in done.stderr.splitlines() if ":CONSOLE" in line]
    return done.stdout, "\n".join(said)


@needs_browser
def test_browser_draws_the_density(tmp_path: Path) -> None:
    """The middle of the screen has the colour of the density under the eye."""
    path = sf.view(bump(concentration=4.0), tmp_path / "view.html", lon=0.0, lat=0.0)
    data = embedded(path)
    colours = np.frombuffer(base64.b64decode(data["colours"]), dtype=np.uint8).reshape(256, 3)
    maps = np.frombuffer(base64.b64decode(data["maps"]), dtype=np.uint8)
    maps = maps.reshape(5, data["height"], data["width"])
    for frame in (0, 4):
        target = tmp_path / f"shot{frame}.png"
        _, said = browse(path, tmp_path, f"--screenshot={target}", frame=frame)
        assert said == ""
        picture = np.asarray(Image.open(target).convert("RGB")).astype(int)
        # Between the lines of the graticule, 10 degrees from the centre.
        globe = (np.abs(picture - 255).max(axis=2) > 40).nonzero()
        assert np.ptp(globe[0]) > 300, "a globe that fills the page"
        assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 100
        expected = colours[maps[frame, 50, 95]].astype(int)  # 11°N, 11°E
        distance = np.abs(picture - expected).max(axis=2)
        assert distance.min() <= 3


# A browser without a window has no frames to animate.
EARLY = "<script>window.requestAnimationFrame = (draw) => setTimeout(draw, 10);</script><body>"
SCRIPT = """
<pre id="result"></pre><script>
setTimeout(() => {
  const globe = document.getElementById("globe"), found = {};
  const picture = () => globe.toDataURL();
  const wait = () => new Promise((go) => setTimeout(go, 50));
  const press = (key) => globe.dispatchEvent(new KeyboardEvent("keydown", { key }));
  const mouse = (type, x) => globe.dispatchEvent(new PointerEvent(
    type, { pointerId: 1, clientX: x, clientY: 200, bubbles: true }));
  globe.setPointerCapture = () => {};
  (async () => {
    const slider = document.getElementById("slider");
    await wait();
    const first = picture();
    slider.value = 3;
    slider.dispatchEvent(new Event("input"));
    await wait();
    found.slider = picture() !== first;
    found.time = document.getElementById("time").textContent;
    slider.value = 0;
    slider.dispatchEvent(new Event("input"));
    await wait();
    found.back = picture() === first;
    for (const [name, act] of Object.entries({
      key: () => press("ArrowLeft"), zoom: () => press("+"),
      drag: () => {
        mouse("pointerdown", 200);
        mouse("pointermove", 260);
        mouse("pointerup", 260);
      },
      wheel: () => globe.dispatchEvent(new WheelEvent("wheel", { deltaY: 300 })),
      points: () => document.getElementById("points").click(),
    })) {
      const before = picture();
      act();
      await wait();
      found[name] = picture() !== before;
    }
    press("Home");
    document.getElementById("points").click();
    await wait();
    found.home = picture() === first;
    press(" ");
    found.playing = document.getElementById("play").textContent;
    await new Promise((go) => setTimeout(go, 300));
    found.moved = document.getElementById("time").textContent !== "t = 0";
    document.getElementById("result").textContent = JSON.stringify(found);
  })();
}, 100);
</script></body>"""


@needs_browser
def test_browser_controls(tmp_path: Path) -> None:
    """Slider, keys, mouse, wheel and the switch of the tokens change the picture, Home undoes."""
    path = sf.view(with_tokens(bump(), 50), tmp_path / "view.html")
    page = path.read_text(encoding="utf-8")
    page = page.replace("<body>", EARLY).replace("</body>", SCRIPT)
    path.write_text(page, encoding="utf-8")
    dom, said = browse(path, tmp_path, "--dump-dom")
    assert said == ""
    result = re.search(r'<pre id="result">(.*?)</pre>', dom)
    assert result is not None and result.group(1), dom[-2000:]
    found = json.loads(result.group(1))
    assert found.pop("time") == "t = 1.5"
    assert found.pop("playing") == "Pause"
    assert found == dict.fromkeys(found, True)
    assert len(found) == 9


@needs_browser
def test_browser_without_webgl_gets_a_message(tmp_path: Path) -> None:
    path = sf.view(bump(), tmp_path / "view.html")
    dom, said = browse(path, tmp_path, "--disable-3d-apis", "--dump-dom")
    assert "needs WebGL 2" in dom.split("<script")[0]
    assert "Uncaught" not in said
