"""Movies of a run: GIF with what matplotlib brings, MP4 where ffmpeg is installed."""

from __future__ import annotations

import contextlib
import itertools
import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.animation import FFMpegWriter
from matplotlib.backends.backend_agg import FigureCanvasAgg
from numpy.typing import NDArray
from PIL import Image

from ..checks import integer, one_of, positive_number
from ..errors import InputError, OutputError
from ..machine.files import check_writable, replaced
from .fields import nearest_times, number, one_path
from .layers import MAP_KINDS
from .maps import TOKEN_COLOUR, MapFigure, globes
from .older_names import output_and_path

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["FORMATS", "animate", "check_movie"]

FORMATS = (".gif", ".mp4")
Frames = Iterator[NDArray[np.uint8]]
_MOST_FRAMES = 240  # by default
_FASTEST_GIF = 50.0  # browsers slow down what is faster


def animate(
    run: xr.Dataset,
    output: str | os.PathLike[str] | None = None,
    *,
    kind: str = "density",
    projection: str = "orthographic",
    fps: float = 12.0,
    rotate: float = 0.0,
    frames: int | None = None,
    path: int | None = None,
    lon: float = 30.0,
    lat: float = 20.0,
    dpi: float = 100.0,
    progress: Callable[[int, int], object] | None = None,
    which: int | None = None,
) -> Path:
    """Write a movie of a run, one frame for each of its output times.

    The colours have the same limits in all frames.

    Parameters
    ----------
    run : xarray.Dataset
        A run that sphereflow wrote.
    output : str or path
        File that ends in .gif or .mp4; replaced if it is there, once the movie is complete.
    kind : {"density", "tokens", "mobility", "velocity"}
        As of `plot`, with the same units.
    projection : {"orthographic", "mollweide"}
        Both halves of the globe, or one map of equal areas.
    fps : float
        Frames per second, at most 50 in a GIF, whose delays are whole hundredths of a second.
    rotate : float
        Degrees by which the globe turns eastwards over the whole movie.
    frames : int, optional
        Number of frames, at output times evenly taken; all of at most 240 if left out.
    path : int, optional
        Number of the path of an ensemble; the first if left out.
    lon, lat : float
        Degrees above which the eye is in the first frame, of the left globe.
    dpi : float
        Pixels per inch; a globe is about 3 inches wide.
    progress : callable, optional
        Called with the number of frames that are done and of all.
    which : int, optional
        The older name of `path`; it goes with the next version.

    Returns
    -------
    pathlib.Path

    Raises
    ------
    InputError
        If an option has no such value, or the run lacks what the kind draws.
    OutputError
        If the file cannot be written, has another ending, or is an MP4 without ffmpeg.

    Examples
    --------
    >>> import tempfile, numpy as np, xarray as xr
    >>> run = xr.Dataset(
    ...     {"density": (("time", "lat", "lon"), np.full((2, 3, 4), 0.25 / np.pi))},
    ...     {"time": [0.0, 1.0], "lat": [-60.0, 0, 60], "lon": [0.0, 90, 180, 270]},
    ... )
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     movie = animate(run, folder + "/run.gif", dpi=20)
    ...     movie.name, movie.read_bytes()[:6]
    ('run.gif', b'GIF89a')
    """
    output, path = output_and_path(output, path, which)
    target = check_movie(output)
    one_of(kind, MAP_KINDS, "kind")
    fps = positive_number(fps, "fps")
    if target.suffix.lower() == ".gif" and fps > _FASTEST_GIF:
        raise InputError(f"fps must be at most 50 in a GIF, got {fps:g}; lower it or write an MP4")
    turn = number(rotate, "rotate")
    views = globes(projection, number(lon, "lon"), number(lat, "lat"))
    if turn != 0.0 and projection != "orthographic":
        raise InputError(
            f"rotate must be 0 in the projection {projection!r}, got {rotate!r}; choose "
            "'orthographic'"
        )
    one = one_path(run, path)
    if frames is None:
        indices = nearest_times(one, None, min(one.sizes["time"], _MOST_FRAMES))
    else:
        count = integer(frames, "frames", 1)
        indices = np.linspace(0, one.sizes["time"] - 1, count).round().astype(int).tolist()
    movie = MapFigure(one, kind, indices, views, movie=True)

    def draw(frame: int) -> None:
        east = turn * frame / len(indices)
        movie.show(indices[frame], globes(projection, lon + east, lat) if turn else views)

    _write(movie, target, fps, positive_number(dpi, "dpi"), len(indices), draw, progress)
    return target


def check_movie(path: str | os.PathLike[str]) -> Path:
    """The path, after checks that a movie of its ending can be written there.

    Raises
    ------
    OutputError
        If the ending is neither .gif nor .mp4, ffmpeg is missing for the latter, or the folder
        cannot be written to.

    Examples
    --------
    >>> check_movie("run.avi")
    Traceback (most recent call last):
    sphereflow.errors.OutputError: movie must end in .gif or .mp4, got 'run.avi'; rename it
    """
    target = check_writable(path)
    ending = target.suffix.lower()
    if ending not in FORMATS:
        raise OutputError(f"movie must end in .gif or .mp4, got {str(target)!r}; rename it")
    if ending == ".mp4" and not FFMpegWriter.isAvailable():
        raise OutputError(
            f"movie must be a GIF where ffmpeg is missing, got {str(target)!r}; install ffmpeg or "
            "write a .gif"
        )
    return target


def _palette(colour_map: str) -> list[int]:
    """At most 256 colours: those of the map, of white lines and points over it, and of text.

    Colours taken from each frame would differ from one to the next, and from the bar.
    """
    from matplotlib import colormaps
    from matplotlib.colors import to_rgb

    map_colours = colormaps[colour_map](np.linspace(0.0, 1.0, 120))[:, :3]
    few = map_colours[::2]
    greys = np.linspace(0.0, 1.0, 32)[:, None] * np.ones(3)
    over_white = np.linspace(0.1, 1.0, 10)[:, None]
    tokens = 1.0 + over_white * (np.array(to_rgb(TOKEN_COLOUR)) - 1.0)
    lines, points = few + 0.3 * (1.0 - few), few[::2] + 0.6 * (1.0 - few[::2])
    every = np.concatenate([map_colours, lines, points, greys, tokens])
    return np.round(255.0 * every).astype(int).ravel().tolist()


def _frames(movie: MapFigure, dpi: float, count: int, draw: Callable[[int], None]) -> Frames:
    """RGBA pictures (height, width, 4) of all frames; only maps and title are drawn again."""
    figure = movie.figure
    figure.set_dpi(dpi)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()  # lays the figure out
    # The layout stays that of the first frame, so that nothing trembles.
    figure.set_layout_engine("none")
    for artist in movie.changing:
        artist.set_animated(True)
    canvas.draw()
    background = canvas.copy_from_bbox(figure.bbox)
    for frame in range(count):
        draw(frame)
        canvas.restore_region(background)
        for artist in movie.changing:
            artist.draw(canvas.get_renderer())
        yield np.array(canvas.buffer_rgba())


def _write_gif(frames: Frames, file: Path, fps: float, colour_map: str) -> None:
    """All frames with the same palette, without dithering."""
    palette = Image.new("P", (1, 1))
    palette.putpalette(_palette(colour_map))
    first, *others = (
        Image.fromarray(np.ascontiguousarray(frame[..., :3])).quantize(
            palette=palette, dither=Image.Dither.NONE
        )
        for frame in frames
    )
    delay = 10 * max(2, round(100.0 / fps))  # milliseconds
    first.save(file, save_all=True, append_images=others, duration=delay, loop=0)


def _write_mp4(frames: Frames, file: Path, fps: float) -> None:
    """Raw frames into ffmpeg, padded to even sizes, as most players need them."""
    first = next(frames)
    height, width = first.shape[:2]
    command = [FFMpegWriter.bin_path(), "-loglevel", "error", "-y", "-f", "rawvideo"]
    command += ["-pix_fmt", "rgba", "-s", f"{width}x{height}", "-r", f"{fps}", "-i", "-"]
    command += ["-vf", "pad=ceil(iw/2)*2:ceil(ih/2)*2:color=white", "-pix_fmt", "yuv420p"]
    with tempfile.TemporaryFile() as messages:
        process = subprocess.Popen(
            [*command, str(file)], stdin=subprocess.PIPE, stdout=messages, stderr=messages
        )
        assert process.stdin is not None
        try:
            for frame in itertools.chain([first], frames):
                process.stdin.write(frame.tobytes())
        except BrokenPipeError:
            pass  # ffmpeg tells why
        finally:
            with contextlib.suppress(BrokenPipeError):
                process.stdin.close()
            code = process.wait()
        if code != 0:
            messages.seek(0)
            reason = messages.read().decode(errors="replace").strip()[-300:]
            raise OSError(f"ffmpeg ended with code {code}: {reason}")


def _write(
    movie: MapFigure,
    target: Path,
    fps: float,
    dpi: float,
    count: int,
    draw: Callable[[int], None],
    progress: Callable[[int, int], object] | None,
) -> None:
    """All frames into a temporary file, which then takes the name."""

    def reported() -> Frames:
        for done, frame in enumerate(_frames(movie, dpi, count, draw), start=1):
            yield frame
            if progress is not None:
                progress(done, count)

    with replaced(target, "movie", target.suffix.lower()) as partial:
        if partial.suffix == ".gif":
            _write_gif(reported(), partial, fps, movie.panels[0].layers.colour_map)
        else:
            _write_mp4(reported(), partial, fps)
