"""The table of output variables, and what is made from it."""

import numpy as np
import pytest

import sphereflow as sf
from sphereflow.errors import InputError
from sphereflow.output.assembly import assemble
from sphereflow.output.variables import VARIABLES, variable_of

HEADS = sf.OrnsteinUhlenbeck(np.eye(3), 0.5, quadrature=4)
SCHEMES = {
    "spectral": sf.Spectral(lmax=15),
    "finite_volume": sf.FiniteVolume(level=2),
    "characteristics": sf.Characteristics(degree=15),
    "particles": sf.Particles(20, 0.05, seed=1),
}


@pytest.mark.parametrize("name", SCHEMES)
def test_schemes_write_what_the_table_says(name):
    density = sf.VonMisesFisher([0, 0, 1], 2.0)
    written = set()
    for law in (HEADS, sf.FixedHeads(np.eye(3)), HEADS.sample(3, seed=1)):
        if name == "particles" or law is not None:
            problem = sf.TransformerPDE(law, density)
            run = sf.solve(problem, t_end=0.1, scheme=SCHEMES[name], save_every=0.1)
        for variable in map(str, run.data_vars):
            one = variable_of(variable)
            if one is None:
                assert variable in ("cell_area", "mesh", "face_nodes", "face_area")
                continue
            dims = ("face",) if one.on_sphere and "face" in run.dims else one.dims
            assert run[variable].dims == (dims if one.timeless else ("time", *dims))
            assert run[variable].attrs["units"] == one.units
            assert run[variable].attrs["long_name"] == one.long_name
            written.add(variable)
    conditional = {"speed", "head_boundary_density"}
    expected = {one for one in VARIABLES if name in VARIABLES[one].writers}
    assert written <= expected | conditional
    assert expected - written <= conditional


def test_an_ensemble_has_its_paths_first():
    problem = sf.TransformerPDE(HEADS, sf.VonMisesFisher([0, 0, 1], 2.0))
    scheme = sf.Particles(20, 0.05, seed=1, paths=3)
    run = sf.solve(problem, t_end=0.1, scheme=scheme, save_every=0.05)
    assert run.position.dims == ("path", "time", "token", "axis")
    assert run.energy.dims == ("path", "time")
    assert run.head_law_error.dims == ("time",)  # of the law that all paths share


def test_a_variable_outside_of_the_table_is_refused():
    with pytest.raises(InputError, match="'vorticity'"):
        assemble([{"vorticity": 1.0}], [0.0], {}, {}, {})
