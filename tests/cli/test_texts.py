"""Texts of users and of files in tables, bars, figures and pages: shown as they are, no more."""

from __future__ import annotations

import json
import logging
import re
from types import SimpleNamespace

import numpy as np
import pytest
import xarray as xr
from typer.testing import CliRunner

import sphereflow as sf
from sphereflow.cli import app
from sphereflow.cli.terminal import LogLines, cell, print_members, print_summary, progress_bar
from sphereflow.errors import InputError, printable

HOSTILE = "[/bold][red] \x1b[31m\x07\u202e\r\x9b2J $\\frac$ {x} [link=file:///x]y[/link]"
COMMANDS = "\x07\x08\x0b\x0c\x9b\x9d\u202e\u2066"
TOML = """
title = {title}
[density]
kind = "uniform"
[scheme]
kind = "spectral"
lmax = 15
[run]
t_end = 0.02
save_every = 0.02
"""


def commands_in(text):
    """Characters and sequences that command a terminal, other than those of colours by rich."""
    rest = re.sub(r"\x1b\[(0|1|2|3|4|7|\?25[lh]|[12]?K|1A|[0-9;]*m)", "", text)
    return [c for c in rest if c in COMMANDS or c == "\x1b"]


def problem():
    return sf.TransformerPDE(sf.FixedHeads(np.eye(3)), sf.VonMisesFisher([0, 0, 1], 2.0))


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.toml").write_text(TOML.format(title=json.dumps(HOSTILE)))
    return tmp_path


def test_printable_keeps_letters_of_all_languages():
    assert printable("μ₀ → 球面 é") == "μ₀ → 球面 é"
    assert printable("a\nb\tc\x1b[31m\ud800") == "a b\ufffdc\ufffd[31m\ufffd"
    assert len(printable("x" * 10**6)) < 1100


@pytest.mark.parametrize("colour", ["0", "1"])
def test_a_run_with_a_hostile_title(folder, monkeypatch, colour):
    if colour == "1":
        monkeypatch.setenv("FORCE_COLOR", "1")
    name = "[bold]a[/red].toml"
    (folder / "[bold]a[").mkdir()
    (folder / name).write_bytes((folder / "a.toml").read_bytes())
    done = CliRunner().invoke(app, ["run", name, "-o", "a.nc", "--plot", "a.png"])
    assert done.exit_code == 0, done.output
    assert name in re.sub(r"\x1b\[[0-9;]*m", "", done.stdout)
    assert not commands_in(done.output) and not commands_in(done.stderr)
    assert xr.open_dataset("a.nc").attrs["title"] == HOSTILE
    for command in (["plot", "a.nc", "-o", "b.png"], ["view", "a.nc", "-o", "b.html"]):
        done = CliRunner().invoke(app, command)
        assert done.exit_code == 0, done.output
    page = (folder / "b.html").read_text("utf-8")
    assert "[/bold][red]" in page and "\u202e" not in page and "\x1b" not in page


def test_names_in_a_movie_and_a_comparison(folder, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    sf.solve(problem(), t_end=0.1, scheme=sf.Spectral(15), save_every=0.1, output="a.nc")
    for words in (["animate", "a.nc", "-o", "[x]\x1b[2J[bold].gif"], ["compare", "a.nc", "a.nc"]):
        done = CliRunner().invoke(app, words)
        assert done.exit_code == 0, done.output
        assert not commands_in(done.stderr) and not commands_in(done.stdout)


def test_status_and_attributes_of_foreign_files(capsys):
    run = sf.solve(problem(), t_end=0.1, scheme=sf.Spectral(15), save_every=0.1)
    run.attrs |= {"status": HOSTILE, "final_lmax": HOSTILE}
    print_summary({HOSTILE: (run, 1.0)})
    print_members([SimpleNamespace(number=0, name=HOSTILE, status=HOSTILE, reason=HOSTILE)])
    shown = capsys.readouterr().out
    assert not commands_in(shown)
    assert "[/bold][red]" in shown


def test_a_bar_shows_a_title_with_brackets(monkeypatch, capsys):
    monkeypatch.setenv("FORCE_COLOR", "1")
    with progress_bar(False) as bar:
        bar(HOSTILE)(0.1, 1.0, {"step": 0.1})
    shown = capsys.readouterr().err
    assert "[/bold]" in re.sub(r"\x1b\[[0-9;]*m", "", shown) and not commands_in(shown)


def test_log_lines():
    record = logging.LogRecord("sphereflow", 30, "", 0, "member %s", (HOSTILE,), None)
    assert "[/bold]" in LogLines("%(message)s").format(record)
    assert not commands_in(LogLines("%(message)s").format(record))
    assert cell(3) == "3"


@pytest.mark.parametrize("words", [["run", HOSTILE], ["plot", HOSTILE, "-o", "a.png"]])
def test_errors_that_name_files(folder, words):
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 2
    assert done.stderr.startswith("error: ") and not commands_in(done.stderr)
    assert done.stderr.count("\n") == 1


def test_titles_of_figures_are_no_mathematics():
    run = sf.solve(problem(), t_end=0.1, scheme=sf.Spectral(15), save_every=0.1)
    for title in (r"a cost of $\frac$ and $", "50$", "$x$", r"a\$b"):
        figure = sf.plot(run.assign_attrs(title=title))
        figure.canvas.draw()
        assert figure._suptitle.get_text().replace(r"\$", "$") == title


def test_lone_surrogates(tmp_path):
    run = sf.solve(problem(), t_end=0.1, scheme=sf.Spectral(15), save_every=0.1)
    page = sf.view(run, tmp_path / "a.html", title="a\ud800b").read_text("utf-8")
    assert "<title>a\ufffdb</title>" in page
    sf.view(run.assign_attrs(title="\udcff"), tmp_path / "a.html")
    sf.plot(run.assign_attrs(title="\udcff")).savefig(tmp_path / "a.png")
    with pytest.raises(InputError, match="title must be a text that UTF-8 can hold"):
        sf.solve(
            problem(),
            t_end=0.1,
            scheme=sf.Spectral(15),
            save_every=0.1,
            output=tmp_path / "a.nc",
            texts={"title": "a\ud800"},
        )
