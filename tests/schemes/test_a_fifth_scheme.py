"""What a new scheme takes: upwind fluxes on a latitude–longitude grid, in this file alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
import pytest
from numpy.typing import NDArray

import sphereflow as sf
from sphereflow.schemes import Run, Scheme

ROLL = np.array([[0.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, 1.0, 0.0]])  # about x, over both poles
START = sf.VonMisesFisher([0.0, 1.0, 0.0], 1.0)
TURN = 0.25 * np.pi


@dataclass(frozen=True)
class Upwind(Scheme):
    """Cell means between `rows` circles of latitude and twice as many meridians."""

    rows: int = 32

    def start(self, problem, rtol, t=0.0):
        return UpwindRun(self, problem, t)


@dataclass
class UpwindState:
    t: float
    mu: Annotated[NDArray[np.float64], "lat lon"]


def unit_vectors(lat, lon):
    lat, lon = np.meshgrid(lat, lon, indexing="ij")
    return np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)], axis=-1)


class UpwindRun(Run):
    """Forward Euler steps in which no cell loses more than it holds."""

    def __init__(self, options, problem, t):
        self.problem = problem
        h = np.pi / options.rows
        edges = np.pi / 2 - h * np.arange(options.rows + 1)
        self.lat, self.lon = edges[1:] + h / 2, h * np.arange(2 * options.rows)
        self.centres = unit_vectors(self.lat, self.lon)
        # The southern side of each row but the last, and the eastern side of each cell.
        self.middles = [
            unit_vectors(edges[1:-1], self.lon),
            unit_vectors(self.lat, self.lon + h / 2),
        ]
        southward = unit_vectors(edges[1:-1] - np.pi / 2, self.lon)
        eastward = unit_vectors(0 * self.lat, self.lon + h / 2 + np.pi / 2)
        self.normals = [
            h * np.cos(edges[1:-1])[:, None, None] * southward,
            h * eastward,
        ]
        self.areas = -h * np.diff(np.sin(edges))[:, None] * np.ones(len(self.lon))
        mu = problem.density(self.centres)
        self.now = UpwindState(t, mu / np.sum(self.areas * mu))

    def flows(self):
        """Velocity times length at the sides, southward and eastward."""
        points = np.concatenate([side.reshape(-1, 3) for side in self.middles])
        velocity = np.zeros_like(points)
        if self.problem.heads is not None:
            source, weights = self.centres.reshape(-1, 3), (self.areas * self.now.mu).ravel()
            field = sf.attention_field(source, self.problem.heads, self.t, weights=weights)
            velocity += self.problem.sign * field.velocity(points)
        if self.problem.drift is not None:
            velocity += self.problem.prescribed_velocity(points, self.t)
        parts = np.split(velocity, [self.middles[0].size // 3])
        return [
            np.sum(part.reshape(normal.shape) * normal, axis=-1)
            for part, normal in zip(parts, self.normals, strict=True)
        ]

    def advance(self, target):
        south, east = self.flows()
        mu, closed = self.now.mu, np.zeros((1, len(self.lon)))
        out = np.maximum(east, 0.0) + np.maximum(np.roll(-east, 1, axis=1), 0.0)
        out += np.concatenate([np.maximum(south, 0.0), closed])
        out += np.concatenate([closed, np.maximum(-south, 0.0)])
        step = min(target - self.t, 0.9 / float((out / self.areas).max()))
        through = np.where(south > 0, south * mu[:-1], south * mu[1:])
        along = np.where(east > 0, east * mu, east * np.roll(mu, -1, axis=1))
        change = along - np.roll(along, 1, axis=1)
        change += np.concatenate([through, closed]) - np.concatenate([closed, through])
        done = step == target - self.t
        self.now = UpwindState(target if done else self.t + step, mu - step / self.areas * change)

    def coordinates(self):
        return {"lat": ("lat", np.degrees(self.lat)), "lon": ("lon", np.degrees(self.lon))}

    def record(self):
        mass = self.areas * self.now.mu
        return {
            "density": self.now.mu,
            "mass": float(mass.sum()),
            "minimum": float(self.now.mu.min()),
            "first_moment": np.einsum("ij,ijk->k", mass, self.centres),
        }


def solve(rows, problem=None, **options):
    problem = problem or sf.TransformerPDE(None, START, drift=ROLL)
    options = {"t_end": TURN, "save_every": TURN / 3} | options
    return sf.solve(problem, scheme=Upwind(rows), **options)


def test_a_rotation_over_the_poles_is_followed_to_first_order():
    turned = [0.0, np.cos(TURN), np.sin(TURN)]
    errors = []
    for rows in (16, 32, 64):
        run = solve(rows)
        assert run.attrs["status"] == "completed" and run["density"].dims == ("time", "lat", "lon")
        assert np.abs(run["mass"] - 1.0).max() < 1e-13
        assert run["minimum"].min() >= 0.0
        cells = UpwindRun(Upwind(rows), sf.TransformerPDE(None, START), 0.0)
        exact = sf.VonMisesFisher(turned, 1.0)(cells.centres)
        errors.append(np.sum(cells.areas * np.abs(run["density"].values[-1] - exact)))
    orders = np.log2(np.array(errors[:-1]) / errors[1:])
    assert orders[-1] == pytest.approx(1.0, abs=0.1), (errors, orders)


def test_attention_moves_it_as_it_moves_other_schemes():
    problem = sf.TransformerPDE(sf.FixedHeads(np.diag([1.0, 0.5, -0.5])), START)
    options = {"t_end": 0.5, "save_every": 0.5}
    exact = sf.solve(problem, scheme=sf.Spectral(31), **options)["first_moment"].values[-1]
    errors = [
        np.abs(solve(rows, problem, **options)["first_moment"].values[-1] - exact).max()
        for rows in (8, 16)
    ]
    assert 1.6 < errors[0] / errors[1] < 2.6  # first order


def test_it_resumes_to_the_last_bit_without_a_line_for_that(tmp_path):
    class Killed(Exception):
        pass

    def die(t, t_end, information):
        if t > 0.5 * TURN:
            raise Killed

    kept = {"output": tmp_path / "run.nc", "checkpoint": sf.Checkpoint(steps=5), "resume": True}
    with pytest.raises(Killed):
        solve(8, progress=die, **kept)
    np.testing.assert_array_equal(solve(8, **kept)["density"], solve(8)["density"])


def test_an_object_without_the_base_class_is_a_scheme_too():
    class Bare:
        rows = 8

        def start(self, problem, rtol, t=0.0):
            return UpwindRun(self, problem, t)

    problem = sf.TransformerPDE(None, START, drift=ROLL)
    run = sf.solve(problem, scheme=Bare(), t_end=TURN, save_every=TURN / 3)
    np.testing.assert_array_equal(run["density"], solve(8)["density"])
