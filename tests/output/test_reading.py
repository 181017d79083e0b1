"""Runs whose attribute `experiment` is foreign or damaged."""

import json

import numpy as np
import pytest

import sphereflow as sf
from sphereflow.errors import InputError
from sphereflow.output.reading import experiment_of, section_of

FOREIGN = [
    "{",
    "[1, 2]",
    '"text"',
    5,
    "",
    "[" * 100_000,
    '{"heads": 3, "scheme": [1], "problem": 0}',
]


@pytest.fixture(scope="module")
def run():
    problem = sf.TransformerPDE(sf.FixedHeads(np.eye(3)), sf.VonMisesFisher([0, 0, 1], 2.0))
    return sf.solve(problem, t_end=0.2, scheme=sf.Spectral(15), save_every=0.1)


@pytest.mark.parametrize("text", FOREIGN[:-1])
def test_one_reader_says_one_sentence(run, text):
    with pytest.raises(InputError, match="'experiment' must be the configuration of a run"):
        experiment_of({"experiment": text})
    assert section_of({"experiment": text}, "heads") == {}


@pytest.mark.parametrize("text", FOREIGN)
def test_runs_without_a_configuration_are_drawn_and_compared(run, text):
    foreign = run.assign_attrs(experiment=text)
    sf.plot(foreign)
    sf.plot(foreign, kind="slope")
    report = sf.compare(foreign, run)
    assert float(report.sobolev.max()) == 0.0


@pytest.mark.parametrize("text", FOREIGN[:-1])
def test_citations_need_a_configuration(run, text):
    with pytest.raises(InputError, match="'experiment'"):
        sf.cite(run.assign_attrs(experiment=text))


def test_a_configuration_is_what_solve_was_given(run):
    assert experiment_of(run.attrs) == json.loads(run.attrs["experiment"])
    assert section_of(run.attrs, "scheme")["lmax"] == 15
