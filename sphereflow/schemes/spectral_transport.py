"""Pseudo-spectral transport ∂_tμ = −div(μ v) + εΔμ under a given velocity v(t).

Fourth-order Runge–Kutta with an embedded third-order error estimate in the integrating-factor
variable of the diffusion (S. Balac and F. Mahé, Comput. Phys. Commun. 184 (2013) 1211): the
diffusion is exact, the last stage is the first one of the next step, and only two distinct
times need a velocity per step.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..diagnostics import tail_ratio
from ..errors import ResolutionError
from ..machine.interruption import listen
from ..sphere import SphereGrid
from .inputs_in_time import TimeInput, longest_step

__all__ = ["Transport", "Work", "error_scale", "norm"]

Complex = NDArray[np.complex128]
Real = NDArray[np.float64]
VelocityAt = Callable[[float], Real]

# Imaginary stability limit of the classical fourth-order method, 2√2, with a margin.
STABILITY_LIMIT = 2.7
LARGEST_REDUCTION = 0.2
LARGEST_GROWTH = 2.5
MOST_STEPS_LEFT = 1e8  # to the next output: more are hopeless
STEPS_LOOKED_AT = 16  # ahead, at the drift as a function of time
ROUND_OFF = 1e-15  # of the norm of μ


@dataclass
class Work:
    """Tendencies that were evaluated."""

    evaluations: int = 0


class Transport:
    """Transforms and work arrays of one resolution.

    Parameters
    ----------
    lmax : int
    diffusion : float
    engine : str
    threads : int
    work : Work, optional
        Goes on counting in it.
    """

    def __init__(
        self, lmax: int, diffusion: float, engine: str, threads: int, work: Work | None = None
    ) -> None:
        self.grid = SphereGrid(lmax, dealias=1.5, engine=engine, threads=threads)
        self.lmax = lmax
        self.diffusion = diffusion
        self._minus_laplacian = -self.grid.laplacian_eigenvalues
        self._density = np.empty(self.grid.shape)
        self._flux = np.empty((2, *self.grid.shape))
        self._toroidal = np.empty(self.grid.size, dtype=np.complex128)
        self._spheroidal = np.empty(self.grid.size, dtype=np.complex128)
        self._factor_step = -1.0
        self._factor: Real = np.ones(self.grid.size)
        self.work = work or Work()

    def tendency(self, mu: Complex, velocity: Real) -> Complex:
        """−div(μ v) for v = (southward, eastward) on the grid; its mean is exactly 0."""
        engine = self.grid.engine
        engine.synthesis(mu, self._density)
        np.multiply(velocity, self._density, out=self._flux)
        engine.vector_analysis(self._flux[0], self._flux[1], self._spheroidal, self._toroidal)
        self.work.evaluations += 1
        return self._spheroidal * self._minus_laplacian

    def velocity(self, spheroidal: Complex, toroidal: Complex, out: Real) -> Real:
        """Southward and eastward components on the grid of vector harmonics of any degree."""
        resized = self.grid.resized
        self.grid.engine.vector_synthesis(resized(spheroidal), resized(toroidal), out[0], out[1])
        return out

    def half_factor(self, step: float) -> Real | None:
        """exp(−ε l(l+1) step/2), or None without diffusion."""
        if self.diffusion == 0.0:
            return None
        if step != self._factor_step:
            self._factor = np.exp(-0.5 * step * self.diffusion * self._minus_laplacian)
            self._factor_step = step
        return self._factor

    def step(
        self, mu: Complex, first: Complex, t: float, step: float, velocity_at: VelocityAt
    ) -> tuple[Complex, Complex, Complex]:
        """One step: μ(t + step), its tendency, and the difference of the two orders."""
        decay = self.half_factor(step)
        middle = velocity_at(t + 0.5 * step)
        if decay is None:
            k1, start = first, mu
        else:
            k1, start = decay * first, decay * mu
        k2 = self.tendency(start + (0.5 * step) * k1, middle)
        k3 = self.tendency(start + (0.5 * step) * k2, middle)
        last = start + step * k3
        end = velocity_at(t + step)
        k4 = self.tendency(last if decay is None else decay * last, end)
        total = start + (step / 6.0) * (k1 + 2.0 * (k2 + k3))
        new = (total if decay is None else decay * total) + (step / 6.0) * k4
        k5 = self.tendency(new, end)
        return new, k5, (step / 10.0) * (k4 - k5)

    def largest_stable_step(self, velocity: Real) -> float:
        """Step at which RK4 is stable for advection with this velocity at degree lmax."""
        speed = float(np.sqrt(np.max(velocity[0] ** 2 + velocity[1] ** 2)))
        wavenumber = float(np.sqrt(self.lmax * (self.lmax + 1.0)))
        return STABILITY_LIMIT / max(speed * wavenumber, 1e-300)

    def integrate(
        self,
        mu: Complex,
        t: float,
        target: float,
        velocity_at: VelocityAt,
        tolerance: float,
        guess: float,
        largest_tail: float,
        inputs: list[TimeInput],
    ) -> tuple[Complex, float, float]:
        """μ with adaptive steps, the time that was reached, and a guess for the next step.

        `tolerance` bounds the error estimate of each step relative to the deviation of μ from the
        uniform density; `inputs` are functions of time that steps resolve. The time
        is `target`, or the end of the first step after which the tail ratio of μ exceeds
        `largest_tail`: what is lost then would not come back at a higher degree.

        Raises
        ------
        ResolutionError
            If the step size vanishes.
        """
        first = self.tendency(mu, velocity_at(t))
        step = guess
        window, slowest = t, np.inf  # what is known of the inputs ahead
        while True:
            listen(t)
            velocity = velocity_at(t)
            limit = min(step, self.largest_stable_step(velocity))
            remaining = target - t
            if inputs and t + limit > window:
                tried = min(remaining, STEPS_LOOKED_AT * limit)
                resolved = longest_step(inputs, t, tried, tolerance)
                window = t + resolved
                slowest = resolved if resolved == tried else 0.5 * resolved
            limit = min(limit, slowest)
            stable = self.largest_stable_step(velocity)
            if remaining > MOST_STEPS_LEFT * stable:
                raise ResolutionError(
                    f"at t = {t:.6g} steps of {stable:.1e} leave {remaining / stable:.1e} to the "
                    f"next output, more than {MOST_STEPS_LEFT:.0e}: the velocity is too large for "
                    f"degree {self.lmax}; lower it or lmax, or shorten the run"
                )
            count = max(1, int(np.ceil(remaining / limit * (1 - 1e-12))))
            now = remaining / count
            new, tendency, difference = self.step(mu, first, t, now, velocity_at)
            error = norm(difference) / error_scale(tolerance, mu, new)
            factor = 0.9 * max(error, 1e-8) ** -0.25 if np.isfinite(error) else LARGEST_REDUCTION
            factor = min(LARGEST_GROWTH, max(LARGEST_REDUCTION, factor))
            if not error <= 1.0:
                step = now * factor
                if step < 1e-12 * max(1.0, abs(target)):
                    raise ResolutionError(
                        f"the time step vanished at t = {t:.6g}: the velocity is too large or too "
                        "rough in time for this tolerance; raise rtol or smooth the velocity"
                    )
                continue
            mu, first = new, tendency
            if count == 1:
                # A step cut short by the target says little about the next one.
                return mu, target, max(step if now < 0.5 * step else 0.0, now * factor)
            step = now * factor
            t = t + now
            if tail_ratio(mu) > largest_tail:
                return mu, t, step


def error_scale(tolerance: float, *states: Complex) -> float:
    """What an error of μ is compared with: `tolerance` of its deviation from uniform.

    The degree 0 of μ is exact; beside all of μ an error would hide the growth out of a nearly
    uniform state. Nothing is asked for below the rounding of μ.
    """
    deviation = max(norm(mu[1:]) for mu in states)
    return max(tolerance * deviation, ROUND_OFF * norm(states[0]))


def norm(coefficients: Complex) -> float:
    """Euclidean norm, which orders with the L2 norm on the sphere within a factor √2."""
    return float(np.sqrt(np.vdot(coefficients, coefficients).real))
