"""Experiments to start from: their comments, the commands about them, and the page of all keys."""

import re
import tomllib
from pathlib import Path

import pytest
from typer.testing import CliRunner

import sphereflow as sf
from sphereflow.cli.app import app
from sphereflow.describe import to_config
from sphereflow.experiments.experiment import list_experiments
from sphereflow.experiments.schema import experiment_schema
from sphereflow.experiments.template import commented_experiment, keys_of, tables_of

NAMES = [one.name for one in list_experiments()]


@pytest.mark.parametrize("name", NAMES)
def test_comments_name_every_key_and_change_nothing(name):
    text = commented_experiment(name)
    config = tomllib.loads(text)
    assert config == tomllib.loads(sf.find_experiment(name).read_text("utf-8"))
    for section in {"density", "heads", "problem", "scheme", "run"} & config.keys():
        own = re.split(r"^\[", text.split(f"\n[{section}]\n")[1], flags=re.MULTILINE)[0]
        tables = tables_of(experiment_schema(), section)
        for key in keys_of(tables[config[section].get("kind", section)]):
            assert (key.name in config[section]) != (f"# {key.name} = " in own), key.name


def test_comments_can_be_taken_up(tmp_path):
    """Every default that is shown may be written, and gives what leaving it out gives."""
    for name in NAMES:
        text = commented_experiment(name)
        start = text.index("\n[")
        taken = re.sub(
            r'^# (\w+ = (true|false|"\w+"|[\d.e-]+))$', r"\1", text[start:], flags=re.MULTILINE
        )
        file = tmp_path / f"{name}.toml"
        file.write_text(text[:start] + taken, encoding="utf-8")
        first, second = sf.load_experiment(file), sf.load_experiment(name)
        assert first.scheme == second.scheme
        assert to_config(first.problem) == to_config(second.problem)


def test_commands_show_and_write_them(tmp_path):
    runner = CliRunner()
    shown = runner.invoke(app, ["experiments", "--show", "rotation"])
    assert shown.stdout == sf.find_experiment("rotation").read_text("utf-8")
    file = tmp_path / "my.toml"
    wrote = runner.invoke(app, ["new", "rotation", "-o", str(file)])
    assert wrote.exit_code == 0 and "sphereflow run" in wrote.stdout
    assert file.read_text("utf-8") == commented_experiment("rotation")
    again = runner.invoke(app, ["new", "rotation", "-o", str(file)])
    assert again.exit_code == 2 and "--overwrite" in again.stderr
    unknown = runner.invoke(app, ["new", "rotatoin", "-o", str(file), "--overwrite"])
    assert unknown.exit_code == 2 and "nearest: 'rotation'" in unknown.stderr


def test_names_stand_for_files(tmp_path, monkeypatch):
    assert (
        sf.load_experiment("rotation").title
        == sf.load_experiment(sf.find_experiment("rotation")).title
    )
    monkeypatch.chdir(tmp_path)
    Path("rotation").write_text("a file of this name")
    with pytest.raises(sf.SphereflowError, match="'rotation' is not valid TOML"):
        sf.load_experiment("rotation")
    vary, change = {"problem.diffusion": [0.0, 0.1]}, ["run.t_end=0.1", "run.save_every=0.1"]
    swept = sf.sweep("polar_state", tmp_path / "swept", vary=vary, overrides=change)
    assert swept.sizes["diffusion"] == 2
