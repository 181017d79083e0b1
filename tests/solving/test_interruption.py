"""Steps that take long hear of signals and time limits, and hopeless ones end."""

import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
import xarray as xr

import sphereflow as sf
from sphereflow.attention import pair_sums
from sphereflow.machine import interruption
from sphereflow.machine.interruption import (
    EndedBySignal,
    Unfinished,
    asked_to_stop,
    listen,
    listening,
)
from sphereflow.schemes.particles import ParticleRun

START = sf.VonMisesFisher([0, 0, 1], 2.0)


def slow_drift(x, t):
    time.sleep(0.05)
    return np.stack([-x[:, 1], x[:, 0], 0 * x[:, 0]], axis=1) * np.cos(3 * t)


def stiff(diffusion):
    return sf.TransformerPDE(sf.FixedHeads(np.eye(3)), START, diffusion=diffusion)


LONG = {
    "cells": (stiff(50.0), sf.FiniteVolume(level=4)),
    "cells, drift only": (sf.TransformerPDE(None, START, drift=slow_drift), sf.FiniteVolume(2)),
    "spectral": (sf.TransformerPDE(None, START, drift=slow_drift), sf.Spectral(31)),
    "spectral, fixed": (
        sf.TransformerPDE(None, START, drift=slow_drift),
        sf.Spectral(15, dt=0.5, lmax_max=15, resolution_limit=1.0),
    ),
    "characteristics": (sf.TransformerPDE(None, START, drift=slow_drift), sf.Characteristics(15)),
    "tokens": (sf.TransformerPDE(None, START, drift=slow_drift), sf.Particles(20, None, seed=1)),
}


@pytest.mark.parametrize("case", LONG)
def test_time_limits_are_heard_inside_of_a_step(case, tmp_path):
    problem, scheme = LONG[case]
    start = time.monotonic()
    run = sf.solve(
        problem, t_end=50.0, scheme=scheme, save_at=[50.0], stop=[sf.WallTime(1.0)], rtol=1e-5
    )
    assert run.attrs["status"] == "wall-time"
    assert time.monotonic() - start < 6.0  # the limit, a look, and the last record; 2.0 if alone


class Rule:
    """Ends a run after so many looks."""

    each_step, status = True, "wall-time"

    def __init__(self, limit):
        self.left = limit

    def __call__(self, t, record):
        self.left -= 1
        return "enough" if self.left < 0 else None


def test_a_step_that_is_left_has_not_begun(tmp_path, monkeypatch):
    """What is resumed after it is the whole run to the last bit."""
    monkeypatch.setattr(interruption, "GRACE", 0.0)
    monkeypatch.setattr(interruption, "PAUSE", 0.0)
    problem = sf.TransformerPDE(
        sf.FixedHeads(np.eye(3)), START, diffusion=0.05, drift=np.diag([0.1, -0.1, 0.0])
    )
    for scheme in (sf.FiniteVolume(3), sf.Spectral(31)):
        options = {"t_end": 0.4, "scheme": scheme, "save_every": 0.1, "rtol": 1e-5}
        whole = sf.solve(problem, **options)
        output = tmp_path / f"{type(scheme).__name__}.nc"
        rng, ends = np.random.default_rng(1), []
        while "completed" not in ends:
            rule = Rule(int(rng.integers(2, 12)))
            more = {"stop": [rule], "output": output, "checkpoint": 1.0, "resume": True}
            part = sf.solve(problem, **options, **more)
            ends.append(part.attrs["status"])
        assert len(ends) > 2
        np.testing.assert_array_equal(part["spectrum"], whole["spectrum"])
        np.testing.assert_array_equal(part["energy_residual"], whole["energy_residual"])


def test_hopeless_steps_end_with_a_reason():
    run = sf.solve(stiff(1e6), t_end=1.0, scheme=sf.FiniteVolume(4), save_every=0.5)
    assert run.attrs["status"] == "failed"
    assert "lower them or level" in run.attrs["status_reason"]


SCRIPT = """
import numpy as np, sphereflow as sf
problem = sf.TransformerPDE(
    sf.FixedHeads(np.eye(3)), sf.VonMisesFisher([0, 0, 1], 2.0), diffusion=1e4
)
run = sf.solve(problem, t_end=1.0, scheme=sf.FiniteVolume(4), save_at=[0.0, 1.0], output="run.nc",
               checkpoint=10.0)
print(run.attrs["status"], run.attrs["status_reason"])
"""


@pytest.mark.parametrize(
    ("name", "status"), [("SIGINT", "interrupted"), ("SIGTERM", "terminated"), ("SIGHUP", "termin")]
)
def test_signals_end_a_long_step_within_a_second(name, status, tmp_path):
    environment = os.environ | {"PYTHONPATH": os.getcwd()}
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT], cwd=tmp_path, stdout=subprocess.PIPE, text=True,
        env=environment,
    )  # fmt: skip
    while not (tmp_path / "run.nc").exists() and process.poll() is None:
        time.sleep(0.02)
    time.sleep(0.3)
    sent = time.monotonic()
    process.send_signal(getattr(signal, name))
    out, _ = process.communicate(timeout=30)
    assert time.monotonic() - sent < 4.0  # with the last record and the end of the process
    assert process.returncode == 0 and out.startswith(status), out
    with xr.open_dataset(tmp_path / "run.nc") as run:
        assert run.attrs["status"].startswith(status)
    assert (tmp_path / "run.nc.checkpoint").is_file()


@pytest.mark.parametrize(("name", "code"), [("SIGTERM", 143), ("SIGHUP", 129), ("SIGINT", 1)])
def test_the_command_ends_with_a_code_of_its_own_after_a_signal(name, code, tmp_path):
    command = [sys.executable, "-m", "sphereflow", "run", "tokens_ou", "-o", str(tmp_path / "r.nc")]
    process = subprocess.Popen([*command, "-q"], stderr=subprocess.DEVNULL)
    while not (tmp_path / "r.nc").exists() and process.poll() is None:
        time.sleep(0.02)
    process.send_signal(getattr(signal, name))
    assert process.wait(timeout=30) == code


def test_the_demonstration_ends_at_a_signal(tmp_path):
    command = [sys.executable, "-m", "sphereflow", "demo", "-q", "--directory", str(tmp_path)]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    while not (tmp_path / "ou.nc").exists() and process.poll() is None:
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=30) == 143
    assert not (tmp_path / "oscillating.nc").exists()


def many_tokens(count):
    heads = sf.FixedHeads(np.stack([np.eye(3), -np.eye(3)]))
    scheme = sf.Particles(count, 0.1, seed=1, summation="direct")
    return sf.TransformerPDE(heads, START), scheme


def test_a_signal_is_heard_inside_of_one_sum_over_pairs(tmp_path):
    """It is the first, so that there is nothing to be kept."""
    problem, scheme = many_tokens(100_000)  # 2e10 pairs, half a minute
    options = {"t_end": 1.0, "scheme": scheme, "output": tmp_path / "run.nc", "checkpoint": 10.0}
    start = time.monotonic()
    threading.Timer(1.5, os.kill, (os.getpid(), signal.SIGTERM)).start()
    with pytest.raises(EndedBySignal) as ended:
        sf.solve(problem, **options)
    assert time.monotonic() - start < 5.0
    assert ended.value.name == "SIGTERM" and not list(tmp_path.iterdir())


def test_a_record_that_takes_long_is_left(tmp_path, monkeypatch):
    """What was saved before is kept, and what is resumed is the whole run to the last bit."""
    monkeypatch.setattr(interruption, "GRACE", 0.0)
    monkeypatch.setattr(interruption, "PAUSE", 0.0)
    monkeypatch.setattr(pair_sums, "AT_ONCE", 1)
    problem, scheme = many_tokens(200)
    options = {"t_end": 0.4, "scheme": scheme, "save_every": 0.1}
    whole = sf.solve(problem, **options)
    saved = []

    def at_the_third(record):
        def recorded(run):
            if run.t > 0.15 and not saved:
                saved.append(run.t)
                signal.raise_signal(signal.SIGTERM)
            return record(run)

        return recorded

    monkeypatch.setattr(ParticleRun, "record", at_the_third(ParticleRun.record))
    more = {"output": tmp_path / "run.nc", "checkpoint": 10.0, "resume": True}
    part = sf.solve(problem, **options, **more)
    assert part.attrs["status"] == "terminated" and part.time.values.tolist() == [0.0, 0.1]
    after = sf.solve(problem, **options, **more)
    assert after.attrs["status"] == "completed"
    np.testing.assert_array_equal(after["position"], whole["position"])
    np.testing.assert_array_equal(after["energy"], whole["energy"])


def test_a_limit_shorter_than_every_step_says_that_nothing_is_gained(caplog):
    problem = sf.TransformerPDE(sf.FixedHeads(np.eye(3)), START, diffusion=1e4)
    options = {"t_end": 1.0, "scheme": sf.FiniteVolume(4), "save_at": [0.0, 1.0]}
    run = sf.solve(problem, stop=[sf.WallTime(0.3)], **options)
    assert run.attrs["status"] == "wall-time" and run.time.values.tolist() == [0.0]
    assert "no step was finished until then" in run.attrs["status_reason"]
    assert "raise it" in caplog.text


def test_handlers_of_others_and_ignored_signals_stay(monkeypatch):
    seen = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: seen.append(number))
    hang_up = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with asked_to_stop() as asked:
            signal.raise_signal(signal.SIGTERM)
            signal.raise_signal(signal.SIGHUP)
            assert seen == [signal.SIGTERM] and not asked.is_set()
    finally:
        signal.signal(signal.SIGTERM, before)
        signal.signal(signal.SIGHUP, hang_up)


def test_only_loops_that_take_long_are_looked_into(monkeypatch):
    monkeypatch.setattr(interruption, "GRACE", 0.05)
    looks = []
    with listening(looks.append):
        listen(1.0)
        assert looks == []
        time.sleep(0.06)
        listen(2.0)
        listen(3.0)
        assert looks == [2.0]
    with listening(lambda t: "why"), pytest.raises(Unfinished) as found:
        time.sleep(0.06)
        listen()
    assert found.value.reason == "why"
    listen()  # nobody listens here


def test_threads_have_listeners_of_their_own(monkeypatch):
    monkeypatch.setattr(interruption, "GRACE", 0.0)
    looks = []
    with listening(looks.append):
        thread = threading.Thread(target=listen, args=(1.0,))
        thread.start()
        thread.join()
    assert looks == []


@pytest.mark.parametrize("beta", [3.0, 300.0])
def test_averages_over_quadratures_are_looked_into(monkeypatch, beta):
    """Nodes of the law that depend on the token, by the series and by direct sums."""
    monkeypatch.setattr(interruption, "GRACE", 0.0)
    monkeypatch.setattr(interruption, "PAUSE", 0.0)
    heads = sf.OrnsteinUhlenbeck(beta * np.eye(3), 1.0, beta * np.eye(3))
    tokens = START.sample(300, 0)
    field = sf.attention_field(tokens, heads)
    times = []
    with listening(times.append):
        field.velocity(tokens)
    assert len(times) > 10
    with listening(lambda t: "enough"), pytest.raises(Unfinished):
        field.velocity(tokens)
