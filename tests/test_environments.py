"""Forked and spawned processes, folders that cannot be written to, terminals without UTF-8."""

import multiprocessing
import os
import pickle
import subprocess
import sys

import numpy as np
import pytest

import sphereflow as sf
from sphereflow.machine import threads
from sphereflow.solving import progress

HEADS = sf.FixedHeads(np.eye(3))
START = sf.VonMisesFisher([0, 0, 1], 2.0)
LAW = sf.OrnsteinUhlenbeck(np.eye(3), 1.0)
PROBLEM = sf.TransformerPDE(HEADS, START)
TWO = sf.HeadProcess(sf.heads.drifts.MeanReversion(1.0), 0.5, sf.Diagonal())

OBJECTS = {
    "Auto": sf.Auto(),
    "Characteristics": sf.Characteristics(),
    "Checkpoint": sf.Checkpoint(),
    "Clustered": sf.Clustered(),
    "Diagonal": sf.Diagonal(),
    "EmpiricalDensity": sf.EmpiricalDensity(np.eye(3), bandwidth=0.3),
    "FiniteVolume": sf.FiniteVolume(),
    "FixedHeads": HEADS,
    "FokkerPlanckLaw": sf.FokkerPlanckLaw(TWO, sf.Normal(), method="product"),
    "GaussianHeads": sf.GaussianHeads(np.eye(3), 0.1 * np.eye(9)),
    "HarmonicDensity": sf.HarmonicDensity([1 / np.sqrt(4 * np.pi), 0.1, 0.0, 0.0]),
    "HeadProcess": TWO,
    "Isotropic": sf.Isotropic(),
    "Mixture": sf.Mixture([START, sf.Uniform()], [0.5, 0.5]),
    "Normal": sf.Normal(1.0, 0.5),
    "NormalMixture": sf.NormalMixture([0.0, 1.0], [0.1, 0.1]),
    "OctahedralClusters": sf.OctahedralClusters(),
    "OrnsteinUhlenbeck": LAW,
    "OscillatingHeads": sf.OscillatingHeads(np.eye(3)[None]),
    "Particles": sf.Particles(10, dt=0.1, seed=1),
    "Point": sf.Point(0.5),
    "SampledHeads": LAW.sample(count=3, seed=1),
    "SphereGrid": sf.SphereGrid(15),
    "Spectral": sf.Spectral(),
    "SteadyState": sf.SteadyState(),
    "Symmetric": sf.Symmetric(),
    "TabulatedHeads": sf.TabulatedHeads([0.0, 1.0], np.stack([np.eye(3), np.eye(3)])[:, None]),
    "TransformerPDE": PROBLEM,
    "Uniform": sf.Uniform(),
    "VonMisesFisher": START,
    "WallTime": sf.WallTime(1.0),
}


def test_the_list_of_objects_is_that_of_public_classes():
    classes = {name for name in sf.__all__ if isinstance(getattr(sf, name), type)}
    assert classes - {"SphereflowError"} == set(OBJECTS)


@pytest.mark.parametrize("name", OBJECTS)
def test_public_objects_go_to_other_processes(name):
    """Before and after they have been used, and laws with the same nodes to the last bit."""
    fresh = OBJECTS[name]
    again = pickle.loads(pickle.dumps(fresh))
    assert type(again) is type(fresh)
    if (hasattr(fresh, "nodes") and hasattr(fresh, "breakpoint_after")) or name.endswith("Heads"):
        first = fresh.nodes(0.3)
        for law in (again, pickle.loads(pickle.dumps(fresh))):
            np.testing.assert_array_equal(law.nodes(0.3).weights, first.weights)
    if callable(fresh) and name not in ("Clustered", "SteadyState", "WallTime", "HeadProcess"):
        if hasattr(fresh, "sample"):
            points = START.sample(5, 1)
            np.testing.assert_array_equal(again(points), fresh(points))


@pytest.mark.parametrize("kind", ["density", "points", "run"])
def test_fields_go_to_other_processes(kind):
    run = sf.solve(PROBLEM, t_end=0.1, scheme=sf.Spectral(lmax=31), save_every=0.1)
    source = {"density": START, "points": np.eye(3), "run": run}[kind]
    field = sf.attention_field(source, HEADS)
    again = pickle.loads(pickle.dumps(field))
    points = START.sample(5, 1)
    np.testing.assert_array_equal(again.velocity(points), field.velocity(points))


def _energy(options):
    scheme = sf.Particles(40, dt=0.1, seed=1, **options)
    return float(sf.solve(PROBLEM, t_end=0.2, scheme=scheme, save_every=0.1)["energy"][-1])


def _cells(level):
    run = sf.solve(PROBLEM, t_end=0.1, scheme=sf.FiniteVolume(level), save_every=0.1)
    return run["energy"].values


def _error(options):
    try:
        return _energy(options)
    except sf.SphereflowError as error:
        return str(error)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_forked_processes_compute_alone():
    """Threads of the parent are lost by a fork, and a loop that waits for them would not end."""
    energy, cells = _energy({}), _cells(2)
    with multiprocessing.get_context("fork").Pool(2) as pool:
        assert pool.map_async(_energy, [{}, {"threads": 1}]).get(timeout=120) == [energy] * 2
        # Sums over harmonics may differ by the rounding, as they are compiled anew.
        found = pool.map_async(_cells, [2]).get(timeout=120)[0]
        np.testing.assert_allclose(found, cells, rtol=1e-14)
        refused = pool.map_async(_error, [{"threads": 2}]).get(timeout=120)[0]
    assert "spawn" in refused and "threads must be 1" in refused
    assert not threads.is_forked()


def run_python(code, **environment):
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": os.getcwd()} | environment,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


SHORT = """
import numpy as np, sphereflow as sf
problem = sf.TransformerPDE(sf.FixedHeads(np.eye(3)), sf.VonMisesFisher([0, 0, 1], 2.0))
for scheme in (sf.Particles(8, dt=0.1, seed=1), sf.FiniteVolume(0)):
    print(*sf.solve(problem, t_end=0.1, scheme=scheme, save_every=0.1).energy.values.tolist())
"""


def test_without_compilation():
    plain = np.array(run_python(SHORT, NUMBA_DISABLE_JIT="1").split(), float)
    np.testing.assert_allclose(plain, np.array(run_python(SHORT).split(), float), rtol=1e-13)


def test_without_a_folder_for_compiled_functions():
    """As with a read-only home and site-packages: compiled in the process, at info level."""
    code = (
        "import logging, numba.core.caching as c\n"
        "logging.basicConfig(level='INFO', format='%(message)s')\n"
        "import sys; logging.getLogger().handlers[0].setStream(sys.stdout)\n"
        "for one in vars(c).values():\n"
        "    if hasattr(one, '_locator_classes'): one._locator_classes = []\n"
        "from sphereflow.machine.compiled import compiled\n"
        "from numba import types\n"
        "print(compiled(types.int64(types.int64))(lambda n: n + 1)(2))\n"
    )
    out = run_python(code)
    assert "is compiled in every process" in out and "NUMBA_CACHE_DIR" in out
    assert out.split()[-1] == "3"


def test_output_in_ascii(tmp_path):
    command = [sys.executable, "-m", "sphereflow"]
    short = ["--set", "run.t_end=0.1", "--set", "scheme.lmax=15"]
    for rest in (
        ["run", "rotation", "-o", str(tmp_path / "a.nc"), *short],
        ["compare", str(tmp_path / "a.nc"), str(tmp_path / "a.nc")],
        ["experiments"],
        ["run", "--help"],
    ):
        done = subprocess.run(
            [*command, *rest],
            capture_output=True,
            check=False,
            env=os.environ | {"PYTHONIOENCODING": "ascii", "LC_ALL": "C", "PYTHONUTF8": "0"},
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.isascii() and done.stdout


def test_progress_in_a_notebook_without_widgets(monkeypatch, capsys):
    monkeypatch.setattr("rich.console.Console.is_jupyter", True, raising=False)
    monkeypatch.setattr("rich.console._is_jupyter", lambda: True)
    monkeypatch.setattr(progress, "find_spec", lambda name: None)
    sf.solve(PROBLEM, t_end=0.1, scheme=sf.Spectral(lmax=31), save_every=0.1, progress=True)
    out = capsys.readouterr().out
    assert "t = 0.1 of 0.1" in out and out.endswith("\n") and "\r" in out


TRANSFORMED = """
import hashlib
import numpy as np, sphereflow as sf
from sphereflow.attention import transform_of_density
z = np.ascontiguousarray(np.random.default_rng(1).standard_normal((3, 300)))
found = transform_of_density(sf.VonMisesFisher([0, 1, 1], 6.0), 1e-13)(z)
law = sf.FixedHeads(np.random.default_rng(2).standard_normal((4, 3, 3)))
problem = sf.TransformerPDE(law, sf.VonMisesFisher([0, 1, 1], 6.0))
scheme = sf.Particles(700, 0.1, seed=1, summation="direct")
positions = sf.solve(problem, t_end=0.2, scheme=scheme).position.values
found = [found.gradient, found.value, positions]
print(hashlib.sha256(b"".join(one.tobytes() for one in found)).hexdigest())
"""


def test_the_process_that_compiles_gives_the_numbers_of_the_others(tmp_path):
    # A kernel that calls another one was optimised anew where it was loaded from the cache.
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    done = [
        subprocess.run(
            [sys.executable, "-c", TRANSFORMED], env=environment, capture_output=True, text=True
        ).stdout
        for _ in range(2)
    ]
    assert len(done[0]) == 65 and done[0] == done[1]
