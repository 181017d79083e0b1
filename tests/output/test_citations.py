"""BibTeX entries for the methods of a run."""

import re

import numpy as np
import pytest

import sphereflow as sf
from sphereflow.errors import InputError
from sphereflow.sphere import shtns_available

NEEDS_SHTNS = pytest.mark.skipif(not shtns_available(), reason="SHTns is not installed")
DENSITY = sf.VonMisesFisher([0, 0, 1], 2.0)


def cited(capsys, run=None):
    sf.cite(run)
    text = capsys.readouterr().out
    assert text.count("{") == text.count("}")
    return re.findall(r"^@\w+\{(\w+),$", text, flags=re.MULTILINE), text


def solved(scheme, heads=None):
    problem = sf.TransformerPDE(heads, DENSITY)
    return sf.solve(problem, t_end=0.1, scheme=scheme, save_every=0.1, rtol=1e-3)


def test_every_run_names_the_package_and_the_equations(capsys):
    keys, text = cited(capsys)
    assert keys == ["sphereflow", "massucco2026", "hoyer2017"]
    assert f"version = {{{sf.__version__}}}" in text


@pytest.mark.parametrize(
    ("scheme", "expected"),
    [
        pytest.param("shtns", {"schaeffer2013", "reinecke2023"}, marks=NEEDS_SHTNS),
        (sf.Spectral(15, engine="ducc0"), {"reinecke2023"}),
        (sf.FiniteVolume(1), {"du1999", "ketcheson2008", "zhang2010", "reinecke2023"}),
        (sf.Characteristics(15, 15, None), {"hairer1993", "reinecke2023"}),
        (sf.Particles(10, None, seed=1), {"hairer1993", "reinecke2023"}),
        (sf.Particles(10, 0.1, seed=1), {"reinecke2023"}),
    ],
)
def test_methods_of_each_scheme(capsys, tmp_path, scheme, expected):
    run = solved(sf.Spectral(15, engine=scheme) if scheme == "shtns" else scheme)
    keys, _ = cited(capsys, run)
    assert set(keys[3:]) == expected
    run.to_netcdf(tmp_path / "run.nc")
    assert cited(capsys, tmp_path / "run.nc")[0] == keys


def test_head_law_and_comparison(capsys):
    law = sf.FokkerPlanckLaw(sf.HeadProcess(lambda theta, t: -theta, 1.0, sf.Isotropic()))
    scheme = sf.Spectral(15, lmax_max=15, resolution_limit=1.0)
    run = solved(scheme, law)
    assert "scharfetter1969" in cited(capsys, run)[0]
    assert "flamary2021" in cited(capsys, sf.compare(run, run, mobility=False))[0]


@pytest.mark.parametrize("wrong", [3, "nowhere.nc"])
def test_what_is_no_run_is_refused(wrong):
    with pytest.raises(InputError, match="run"):
        sf.cite(wrong)


def test_a_foreign_dataset_is_refused():
    import xarray as xr

    with pytest.raises(InputError, match="experiment"):
        sf.cite(xr.Dataset({"a": ("x", np.zeros(3))}))
