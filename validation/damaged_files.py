"""Files that are damaged by seeded draws, and what readers make of them, for `25_damaged_files.py`.

A case is one file, one damage and one reader. It is *used* if the reader gives a result, *refused*
if it raises a `SphereflowError` of one line (a command: exit code 2 and one line), and *escaped* if
anything else comes out. It is *unread* if xarray, by which a user opens it, does not read it.
Damage after which no right result is possible is *accepted* if it is used all the same. The netCDF
library can end a process on a damaged file, so that the cases are run in processes of their own,
started by `outcomes`; such an end, or a case that takes longer than `TIMEOUT`, is *ended*.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import os
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

import sphereflow as sf
from sphereflow.diagnostics import clusters
from sphereflow.figures.plot import KINDS

SCHEMES = {
    "spectral": sf.Spectral(lmax=15),
    "cells": sf.FiniteVolume(level=2),
    "characteristics": sf.Characteristics(11, 17),
    "tokens": sf.Particles(40, dt=0.05, seed=1),
}
PROBLEM = sf.TransformerPDE(
    sf.FixedHeads(np.diag([1.0, 0.3, -0.2])), sf.VonMisesFisher([0, 0, 1], 1.0)
)
EXPERIMENT = """
title = "small"
[density]
kind = "empirical_density"
positions = "tokens.csv"
[heads]
kind = "fixed_heads"
logits = [[[1.0, 0.0, 0.0], [0.0, 0.3, 0.0], [0.0, 0.0, -0.2]]]
[scheme]
kind = "particles"
dt = 0.05
[run]
t_end = 0.1
save_every = 0.05
"""
TIMEOUT = 60.0  # s of one case
OUTCOMES = ("used", "refused", "unread", "escaped", "accepted", "ended")
FAMILIES = {"bytes": 0.3, "wrong": 0.4, "checkpoint": 0.1, "experiment": 0.1, "table": 0.1}


def solved(scheme: Any, t_end: float = 0.1, **options: Any) -> xr.Dataset:
    return sf.solve(PROBLEM, t_end=t_end, scheme=scheme, save_every=0.05, **options)


def make_files(folder: Path) -> None:
    """The whole files, from which the damaged ones are made."""
    for name, scheme in SCHEMES.items():
        solved(scheme, output=folder / f"{name}.nc")

        def stop(t: float, t_end: float, information: Any) -> None:
            if t >= 0.05:
                raise KeyboardInterrupt

        output = folder / f"kept_{name}.nc"
        solved(scheme, 0.2, output=output, checkpoint=sf.Checkpoint(steps=1), progress=stop)
    rows = np.random.default_rng(0).standard_normal((30, 3))
    rows /= np.linalg.norm(rows, axis=1)[:, None]
    np.savetxt(folder / "tokens.csv", rows, delimiter=",", header="x,y,z", comments="")
    (folder / "small.toml").write_text(EXPERIMENT)


# Damage


def damaged_bytes(content: bytes, rng: np.random.Generator) -> bytes:
    """Flipped bits, a cut, or a block that is zero, noise, twice there or gone."""
    found = bytearray(content)
    start = int(rng.integers(len(found)))
    length = int(min(rng.integers(1, 200), len(found) - start))
    kind = rng.integers(7)
    if kind <= 1:
        for place in rng.integers(len(found), size=int(rng.integers(1, 9))):
            found[place] ^= 1 << int(rng.integers(8))
    elif kind == 2:
        del found[start:]
    elif kind == 3:
        found[start : start + length] = bytes(length)
    elif kind == 4:
        found[start : start + length] = rng.bytes(length)
    elif kind == 5:
        found[start:start] = found[start : start + length]
    else:
        del found[start : start + length]
    return bytes(found)


FOREIGN: list[Any] = ["", "x", "K", "days since 2000-01-01", "degrees", 3, -1.5, [1, 2], "\x1b[31m"]
FOREIGN += ["[]", "{}", '{"heads": 3}', '{"problem": {"flow": 3}}', "[/bold]", np.nan, "null"]
ATTRIBUTES = [
    "title",
    "status",
    "status_reason",
    "experiment",
    "layout_version",
    "seed",
    "_Foreign",
]
ATTRIBUTES += [
    "units",
    "scale_factor",
    "add_offset",
    "time",
    "final_lmax",
    "coordinates",
    "calendar",
]


def wrong_dataset(run: xr.Dataset, rng: np.random.Generator) -> tuple[xr.Dataset, bool]:
    """A run with something wrong, and whether it must be refused by all that read it."""
    names = sorted(map(str, run.variables))
    name = names[rng.integers(len(names))]
    variable = run[name].variable
    dims = [str(dim) for dim in run.dims if dim != "time"]
    dim = dims[rng.integers(len(dims))]
    kind = int(rng.integers(12))
    if kind == 0:
        return run.drop_vars(name), False
    if kind == 1 and variable.dtype.kind == "f":
        values = variable.values.copy()
        values.flat[rng.integers(values.size)] = rng.choice([np.nan, np.inf, -1.0, 1e30, 7.0])
        return with_values(run, name, values), False
    if kind == 2 and variable.dtype.kind == "f":
        factor = rng.choice([-1.0, 0.0, np.nan, 1e200])
        return with_values(run, name, variable.values * factor), False
    if kind == 3:
        return run.isel({dim: slice(int(rng.integers(1, 3)))}), False
    if kind == 4:
        return run.rename({dim: "other"}), False
    if kind == 5:
        return run.reset_coords(drop=True) if rng.integers(2) else run.drop_dims(dim), False
    if kind == 6:
        cast = rng.choice(["int32", "float32", "str", "S4", "bool", "datetime64[ns]"])
        with contextlib.suppress(ValueError, TypeError):
            return with_values(run, name, variable.values.astype(cast)), False
    if kind == 7 and variable.ndim:
        order = rng.permutation(variable.ndim)
        flat = [variable.dims[k] for k in order]
        return with_values(run, name, variable.values, flat), False
    if kind == 8:
        key = ATTRIBUTES[rng.integers(len(ATTRIBUTES))]
        return run.assign_attrs({key: FOREIGN[rng.integers(len(FOREIGN))]}), False
    if kind == 9:
        found = run.copy()
        key = ATTRIBUTES[rng.integers(len(ATTRIBUTES))]
        found[name].attrs[key] = FOREIGN[rng.integers(len(FOREIGN))]
        return found, False
    if kind == 10:
        return surely_wrong(run, rng), True
    if rng.integers(2):
        return run.isel(time=slice(None, None, -1)), False
    return xr.concat([run, run], "other", data_vars="all"), True


def with_values(run: xr.Dataset, name: str, values: Any, dims: Any = None) -> xr.Dataset:
    """The run with other values of a variable, on axes of their own where these do not fit."""
    variable = run[name].variable
    dims = list(variable.dims if dims is None else dims)
    sizes = dict(run.sizes)
    dims = [one if sizes[one] == n else f"{one}_other" for one, n in zip(dims, values.shape)]
    coords = name in run.coords
    rest = run.drop_vars(name)
    made = xr.Variable(dims, values, variable.attrs)
    return rest.assign_coords({name: made}) if coords else rest.assign({name: made})


def surely_wrong(run: xr.Dataset, rng: np.random.Generator) -> xr.Dataset:
    """A run of which no right picture, start or distance can be made."""
    cases: list[Callable[[], xr.Dataset]] = [
        lambda: run.assign_coords(time=run.time * np.nan),
        lambda: run.isel(time=slice(0)),
        lambda: run.assign(spectrum=run.spectrum.assign_attrs(units="K")),
        lambda: run.isel(harmonic=slice(5)),
    ]
    if "position" in run:
        weights = run.get("token_weight", xr.zeros_like(run.position[0, :, 0]) + 1.0)
        cases += [
            lambda: run.isel(axis=slice(2)),
            lambda: run.assign(position=7.0 * run.position),
            lambda: run.assign(position=0.0 * run.position),
            lambda: run.assign(token_weight=-weights),
            lambda: run.assign(token_weight=weights * np.nan),
            lambda: run.assign(token_weight=0.0 * weights),
        ]
    else:
        cases += [
            lambda: run.assign(density=-run.density),
            lambda: run.assign(density=run.density.assign_attrs(units="m-2")),
        ]
    return cases[rng.integers(len(cases))]()


# Readers


def commands(*words: str) -> None:
    """A command in this process, whose refusal is raised as the error that it shows."""
    from typer.testing import CliRunner

    from sphereflow.cli import app

    done = CliRunner().invoke(app, list(words))
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    if done.exit_code == 2:
        lines = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
        if len(lines) != 1 or "unexpected" in lines[0] or "Traceback" in done.output:
            raise RuntimeError(f"unclear: {done.stderr!r:.300}")
        raise sf.SphereflowError(lines[0])
    if done.exit_code not in (0, 1):
        raise RuntimeError(f"exit code {done.exit_code}")


def goes_on(path: Path) -> None:
    kind = next((name for name in SCHEMES if name in path.name), "spectral")
    scheme = sf.Particles(dt=0.05, seed=1) if kind == "tokens" else SCHEMES[kind]
    run = solved(scheme, 0.15, initial=path)
    assert np.isfinite(run["energy"]).all(), "the energy is not finite"


def compares(path: Path) -> None:
    report = sf.compare(path, path, transport=False)
    assert not float(report["sobolev"].max()) > 1e-12, "a run differs from itself"
    sf.compare(path, path.parent / "spectral.nc")


def finds(path: Path) -> None:
    found = clusters(opened(path))
    some = found["mass"].where(found["number"] > 0, drop=True)  # none if all is near uniform
    assert (np.abs(some.sum("cluster") - 1) < 1e-6).all(), "masses that do not sum to 1"


class Unread(Exception):
    """xarray itself does not write or read the file, so that the package gets nothing."""


def opened(path: Path) -> xr.Dataset:
    """As users open files: what xarray cannot read is no matter of the package."""
    try:
        with xr.open_dataset(path) as run:
            return run.load()
    except Exception as error:
        raise Unread(f"{type(error).__name__}: {error}") from error


def plots(path: Path) -> None:
    run = opened(path)
    refusals = []
    for kind in KINDS:
        try:
            sf.plot(run, kind).savefig(io.BytesIO(), format="png", dpi=30)
        except sf.SphereflowError as error:
            refusals.append(error)
    if len(refusals) == len(KINDS):
        raise refusals[0]


def field(path: Path) -> None:
    made = sf.attention_field(opened(path), PROBLEM.heads)
    assert np.isfinite(made.energy()), "the energy is not finite"


READERS: dict[str, Callable[[Path], Any]] = {
    "initial": goes_on,
    "compare": compares,
    "clusters": finds,
    "plot": plots,
    "field": field,
    "join": lambda path: sf.join([path, path.parent / "spectral.nc"]),
    "view": lambda path: sf.view(opened(path), path.with_suffix(".html")),
    "animate": lambda path: sf.animate(
        opened(path), path.with_suffix(".gif"), frames=1, dpi=20
    ),
    "run from itself": lambda path: commands("run", str(path), "-o", f"{path}.out.nc", "-q"),
    "plot command": lambda path: commands("plot", str(path), "-o", f"{path}.png"),
    "compare command": lambda path: commands(
        "compare", "--no-transport", str(path), str(path.parent / "spectral.nc")
    ),
    "view command": lambda path: commands("view", str(path), "-o", f"{path}.html"),
}  # fmt: skip


def resumed(path: Path) -> None:
    """Resume from the checkpoint beside an output: the same numbers or a sentence."""
    name = path.name.removeprefix("damaged_kept_").removesuffix(".nc")
    run = solved(SCHEMES[name], 0.2, output=path, checkpoint=sf.Checkpoint(steps=1), resume=True)
    whole = solved(SCHEMES[name], 0.2)
    np.testing.assert_allclose(run["energy"], whole["energy"], rtol=1e-12)


# Cases


def one_case(seed: int, folder: Path) -> tuple[str, str, str]:
    """Family, outcome and details of one draw."""
    rng = np.random.default_rng([14, seed])
    family = str(rng.choice(list(FAMILIES), p=list(FAMILIES.values())))
    sure, scheme = False, str(rng.choice(list(SCHEMES)))
    reader = str(rng.choice(list(READERS)))
    path = folder / f"damaged_{scheme}.nc"
    if family == "bytes":
        path.write_bytes(damaged_bytes((folder / f"{scheme}.nc").read_bytes(), rng))
    elif family == "wrong":
        with xr.open_dataset(folder / f"{scheme}.nc") as whole:
            try:
                run, sure = wrong_dataset(whole.load(), rng)
                for name in run.variables:
                    run[name].encoding = {}
                path.unlink(missing_ok=True)
                run.to_netcdf(path)
            except Exception as error:  # xarray does not take it: there is no such file
                return family, "unread", f"not written: {type(error).__name__}"
    elif family == "checkpoint":
        path, reader = folder / f"damaged_kept_{scheme}.nc", "resume"
        for ending in ("", ".checkpoint"):
            content = (folder / f"kept_{scheme}.nc{ending}").read_bytes()
            if bool(ending) == bool(rng.integers(4)):
                content = damaged_bytes(content, rng)
            Path(f"{path}{ending}").write_bytes(content)
    elif family == "experiment":
        path, reader = folder / "damaged.toml", "run command"
        path.write_bytes(damaged_bytes((folder / "small.toml").read_bytes(), rng))
    else:
        path, reader = folder / "damaged.csv", "tokens"
        path.write_bytes(damaged_bytes((folder / "tokens.csv").read_bytes(), rng))
    sure = sure and reader != "run from itself"  # it reads the experiment only
    action: Callable[[Path], Any] = READERS.get(reader, resumed)
    if reader == "run command":
        action = lambda path: commands("run", str(path), "-o", f"{path}.nc", "-q", "--overwrite")  # noqa: E731
    elif reader == "tokens":
        action = lambda path: sf.EmpiricalDensity(path)  # noqa: E731
    for made in (f"{path}.out.nc", f"{path}.html", path.with_suffix(".html")):
        Path(made).unlink(missing_ok=True)
    what = f"{seed}: {family} {scheme} {reader}"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            action(path)
    except Unread as error:
        return family, "unread", f"{what}: {str(error)[:200]}"
    except sf.SphereflowError as error:
        return family, "refused", f"{what}: {str(error)[:200]}"
    except Exception as error:
        return family, "escaped", f"{what}: {type(error).__name__}: {str(error)[:300]}"
    return family, "accepted" if sure else "used", what


def outcomes(seeds: range, folder: Path) -> list[tuple[str, str, str]]:
    """Outcomes of these draws, in processes that are started anew when one of them is ended."""
    logging.disable(logging.WARNING)
    try:
        make_files(folder)
    finally:
        logging.disable(logging.NOTSET)
    found: list[tuple[str, str, str]] = []
    while len(found) < len(seeds):
        rest = seeds[len(found) :]
        words = [sys.executable, __file__, str(folder), str(rest.start), str(rest.stop)]
        done = subprocess.Popen(
            words,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])},
        )
        assert done.stdout is not None
        before = len(found)
        for line in done.stdout:
            found.append(tuple(json.loads(line)))
        code = done.wait()
        if len(found) < len(seeds):
            assert code != 0 or len(found) > before, "no case was run"
            found.append(("bytes", "ended", f"{seeds[len(found)]}: exit code {code}"))
    return found


def main() -> None:
    import signal

    folder, start, stop = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    os.chdir(folder)
    report = os.fdopen(os.dup(1), "w")
    for seed in range(start, stop):
        signal.alarm(int(TIMEOUT))  # ends the process
        print(json.dumps(one_case(seed, folder)), file=report, flush=True)


if __name__ == "__main__":
    main()
