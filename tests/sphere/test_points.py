"""Synthesis at scattered points and its adjoint, against polynomials in x, y, z."""

import numpy as np
import pytest
from scipy.special import eval_legendre, sph_harm_y

from sphereflow.errors import InputError
from sphereflow.sphere import (
    PointTransform,
    SphereGrid,
    complex_to_real,
    degrees_and_orders,
    real_to_complex,
    unit_vectors,
)


def random_points(n, seed=0):
    points = np.random.default_rng(seed).standard_normal((n, 3))
    points[:2] = [[0, 0, 1], [0, 0, -1]]  # the poles, where angles are singular
    return points / np.linalg.norm(points, axis=1, keepdims=True)


POLYNOMIALS = {
    "x": (lambda x, y, z: x, lambda x, y, z: (1 + 0 * x, 0 * x, 0 * x)),
    "xyz": (lambda x, y, z: x * y * z, lambda x, y, z: (y * z, x * z, x * y)),
    "x^4 - 3 x y^2 + z": (
        lambda x, y, z: x**4 - 3 * x * y**2 + z,
        lambda x, y, z: (4 * x**3 - 3 * y**2, -6 * x * y, 1 + 0 * z),
    ),
}


@pytest.mark.parametrize("name", POLYNOMIALS)
def test_values_and_gradients_of_polynomials(name):
    value, ambient = POLYNOMIALS[name]
    grid = SphereGrid(9)
    f = grid.analysis(value(*np.moveaxis(grid.points, -1, 0)))
    points = random_points(300)
    at = grid.at(points)
    np.testing.assert_allclose(at.synthesis(f), value(*points.T), atol=1e-12)
    gradient = np.stack(ambient(*points.T), axis=1)
    gradient -= points * np.sum(points * gradient, axis=1, keepdims=True)
    np.testing.assert_allclose(at.gradient(f), gradient, atol=1e-12)


def test_zeros_at_the_poles_may_have_either_sign():
    # x = sin θ cos φ has the gradient e_x at both poles; φ = ±π of negative zeros reverses it.
    grid = SphereGrid(7)
    c = grid.analysis(grid.points[..., 0])
    signs = np.array([[a, b] for a in (0.0, -0.0) for b in (0.0, -0.0)])
    poles = np.concatenate([np.column_stack([signs, np.full(4, z)]) for z in (1.0, -1.0)])
    at = grid.at(poles)
    np.testing.assert_allclose(at.gradient(c), np.tile([1.0, 0, 0], (8, 1)), atol=1e-12)
    east, north = at.eastward_northward(at.gradient(c))
    np.testing.assert_allclose([east, north], [np.zeros(8), np.repeat([-1.0, 1.0], 4)], atol=1e-12)


def test_rotational_part():
    # ∇z × x = e_z × x.
    grid = SphereGrid(5)
    points = random_points(50)
    psi = grid.analysis(grid.points[..., 2])
    got = grid.at(points).vector_synthesis(np.zeros_like(psi), psi)
    np.testing.assert_allclose(got, np.cross([0.0, 0.0, 1.0], points), atol=1e-12)


def test_scattered_values_are_those_of_the_grid():
    grid = SphereGrid(40)
    real = np.random.default_rng(1).standard_normal(41**2)
    f = real_to_complex(real)
    values = grid.synthesis(f)
    at = grid.at(grid.points.reshape(-1, 3)[::37])
    error = at.synthesis(f) - values.ravel()[::37]
    assert np.abs(error).max() < 1e-11 * np.abs(values).max()


@pytest.mark.parametrize("lmax", [1, 20, 90])
def test_adjoint(lmax):
    # ⟨w, S c⟩ = ⟨S* w, c⟩ in the real inner product of functions.
    rng = np.random.default_rng(lmax)
    at = PointTransform(random_points(200))
    c, w = rng.standard_normal((lmax + 1) ** 2), rng.standard_normal(200)
    values = at.synthesis(real_to_complex(c))
    moments = complex_to_real(at.moments(w, lmax))
    scale = np.linalg.norm(w) * np.linalg.norm(values)
    assert abs(w @ values - moments @ c) < 1e-12 * scale


def test_moments_of_a_point_at_the_pole():
    # Y_l0(north) = √((2l+1)/4π); all other orders vanish there.
    moments = PointTransform([[0.0, 0.0, 1.0]]).moments([1.0], 60)
    degrees, orders = degrees_and_orders(60)
    expected = np.where(orders == 0, np.sqrt((2 * degrees + 1) / (4 * np.pi)), 0.0)
    np.testing.assert_allclose(moments, expected, atol=1e-12)


def test_moments_of_a_point_anywhere():
    point = random_points(5)[4]
    moments = PointTransform([point]).moments([2.0], 30)
    degrees, orders = degrees_and_orders(30)
    theta, phi = np.arccos(point[2]), np.arctan2(point[1], point[0])
    expected = 2.0 * np.conj(sph_harm_y(degrees, orders, theta, phi))
    np.testing.assert_allclose(moments, expected, atol=1e-11)


def test_addition_theorem():
    # Σ_m Y_lm(p) Y_lm(q) = (2l+1)/4π P_l(⟨p, q⟩).
    p, q = random_points(4)[2:]
    one, two = (complex_to_real(PointTransform([v]).moments([1.0], 25)) for v in (p, q))
    degrees = np.repeat(np.arange(26), 2 * np.arange(26) + 1)
    sums = np.bincount(degrees, one * two)
    l = np.arange(26)
    np.testing.assert_allclose(
        sums, (2 * l + 1) / (4 * np.pi) * eval_legendre(l, p @ q), atol=1e-11
    )


def test_several_sets_of_weights():
    at = PointTransform(random_points(30))
    weights = np.random.default_rng(2).standard_normal((3, 30))
    together = at.moments(weights, 12)
    alone = np.stack([at.moments(row, 12) for row in weights])
    np.testing.assert_allclose(together, alone, atol=1e-14)


@pytest.mark.parametrize(
    ("points", "message"),
    [
        ([[0, 0, 1.0], [0, 0, 2.0]], "row 1 has length 2"),
        ([[1.0, 0, 0], [0, 1, 0], [np.nan, 0, 0]], "row 2"),
        ([[0.0, np.inf, 0]], "row 0"),
        ([[1.0, 0.0]], r"shape \(n, 3\)"),
        (np.zeros((2, 2, 3)), r"shape \(n, 3\)"),
        ([[0.0, 0.0, 0.0]], "row 0 has length 0"),
    ],
)
def test_unit_vector_errors_name_the_row(points, message):
    with pytest.raises(InputError, match=message):
        unit_vectors(points)


def test_unit_vectors_are_renormalised():
    points = random_points(10) * (1 + 1e-7)
    np.testing.assert_allclose(np.linalg.norm(unit_vectors(points), axis=1), 1.0, rtol=1e-15)


def test_wrong_number_of_weights():
    with pytest.raises(InputError, match="weights must have length 2"):
        PointTransform(np.eye(3)[:2]).moments(np.ones(3), 4)
