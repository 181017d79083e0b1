"""Tables of tokens as other programs write them."""

import gzip

import numpy as np
import pandas as pd
import pytest

import sphereflow as sf
from sphereflow.errors import InputError

ROWS = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.6, 0.8]])
HALF = [0.25, 0.25, 0.5]
TEXTS = {
    "numpy with a heading": "# x,y,z\n1,0,0\n0,1,0\n0,0.6,0.8\n",
    "R, write.csv": '"","x","y","z"\n"1",1,0,0\n"2",0,1,0\n"3",0,0.6,0.8\n',
    "R, write.table": '"x" "y" "z"\n"1" 1 0 0\n"2" 0 1 0\n"3" 0 0.6 0.8\n',
    "a column of text": "word,x,y,z\nthe,1,0,0\nof,0,1,0\nand,0,0.6,0.8\n",
    "another order": "z,weight,x,y\n0,0.25,1,0\n0,0.25,0,1\n0.8,0.5,0,0.6\n",
    "semicolons": "x;y;z\n1;0;0\n0;1;0\n0;0.6;0.8\n",
    "decimal commas": "x;y;z\n1;0;0\n0;1;0\n0;0,6;0,8\n",
    "tabs": "X\tY\tZ\n1\t0\t0\n0\t1\t0\n0\t0.6\t0.8\n",
    "blanks": "  x   y  z\n 1  0  0\n 0  1  0\n 0  0.6 0.8\n",
    "blanks after commas": "x, y, z\n1, 0, 0\n0, 1, 0\n0, 0.6, 0.8\n",
    "comments": "# by me\n# on a day, with x\nx,y,z\n1,0,0\n# half\n0,1,0\n\n0,0.6,0.8 # end\n",
    "no heading": "1,0,0\n0,1,0\n0,0.6,0.8\n",
    "no heading, blanks": "1 0 0\n0 1 0\n0 0.6 0.8\n",
    "no heading, weights": "1,0,0,0.25\n0,1,0,0.25\n0,0.6,0.8,0.5\n",
    "byte-order mark": "\ufeffx,y,z\n1,0,0\n0,1,0\n0,0.6,0.8\n",
    "Windows": "x,y,z\r\n1,0,0\r\n0,1,0\r\n0,0.6,0.8\r\n",
    "exponents": "x,y,z\n1e0,0,0\n0,1E+0,0\n0,6e-1,8e-1\n",
}


@pytest.mark.parametrize("name", TEXTS)
@pytest.mark.parametrize("ending", [".csv", ".CSV", ".txt", ".csv.gz"])
def test_text(name, ending, tmp_path):
    file = tmp_path / f"tokens{ending}"
    content = TEXTS[name].encode()
    file.write_bytes(gzip.compress(content) if ending.endswith(".gz") else content)
    density = sf.EmpiricalDensity(file)
    np.testing.assert_array_equal(density.positions, ROWS)
    expected = HALF if "weight" in TEXTS[name] or name.endswith("weights") else np.full(3, 1 / 3)
    np.testing.assert_allclose(density.weights, expected, rtol=1e-15)


def test_degrees(tmp_path):
    (tmp_path / "a.csv").write_text("name,Latitude,lon\nnorth,90,0\neast,0,90\nwest,0,-90\n")
    expected = [[0, 0, 1], [0, 1, 0], [0, -1, 0]]
    found = sf.EmpiricalDensity(tmp_path / "a.csv").positions
    np.testing.assert_allclose(found, expected, atol=1e-16)


def test_data_frames_by_the_names_of_columns():
    frame = pd.DataFrame(
        {"word": ["a", "b", "c"], "z": ROWS[:, 2], "weight": HALF, "y": ROWS[:, 1]}
    )
    frame["x"] = ROWS[:, 0]
    density = sf.EmpiricalDensity(frame)
    np.testing.assert_array_equal(density.positions, ROWS)
    np.testing.assert_array_equal(density.weights, HALF)
    with pytest.raises(InputError, match="its columns are a, b; x, y, z or lat, lon are wanted"):
        sf.EmpiricalDensity(pd.DataFrame({"a": [1.0], "b": [2.0]}))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x,y,z\n", "a heading and no rows"),
        ("# x,y,z\n", "a heading and no rows"),
        ("", "it is empty"),
        ("a,b,c\n1,0,0\n", "its heading is 'a,b,c'; columns x, y, z or lat, lon are wanted"),
        ("x,y,z\n1,0,0\n0,one,0\n", "its column y holds 'one' in row 1"),
        ("1,0\n0,1\n", "it has 2 columns; 3 or 4 are wanted"),
        ("lat,lon\n91,0\n", "between -90 and 90"),
        ("x,y,z\n1,0,\n", "must be finite, row 0"),
        ("x,y,z\n1,0,0\n1,0,0,0,0,0\n", "cannot be read"),
    ],
)
def test_what_is_wrong_is_said(text, message, tmp_path):
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(InputError, match=message):
        sf.EmpiricalDensity(tmp_path / "a.csv")


def test_damaged_and_unknown_files(tmp_path):
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(b"x,y,z\n1,0,0\n")[:-6])
    (tmp_path / "b.csv").write_bytes(b"x,y,z\n\xff\xfe,0,0\n")
    (tmp_path / "c.npy.gz").write_bytes(b"")
    (tmp_path / "d").write_bytes(b"")
    for name in ("a.csv.gz", "b.csv", "c.npy.gz", "d"):
        with pytest.raises(InputError, match="tokens"):
            sf.EmpiricalDensity(tmp_path / name)


def test_an_experiment_with_a_byte_order_mark(tmp_path):
    text = (
        "\ufeffdensity = { kind = 'uniform' }\n"
        "scheme = { kind = 'spectral', lmax = 7 }\nrun = { t_end = 0.1 }\n"
    )
    (tmp_path / "a.toml").write_text(text, "utf-8")
    assert sf.load_experiment(tmp_path / "a.toml").run["t_end"] == 0.1


def test_a_file_that_changed_since_a_run_is_noticed(tmp_path):
    """The digest of the tokens is in the experiment of the run, beside the name of their file."""
    from typer.testing import CliRunner

    from sphereflow.cli import app

    def run(source, output):
        return CliRunner().invoke(app, ["run", str(source), "-o", str(tmp_path / output), "-q"])

    (tmp_path / "tokens.csv").write_text("x,y,z\n1,0,0\n0,1,0\n")
    (tmp_path / "t.toml").write_text(
        "density = { kind = 'empirical_density', positions = 'tokens.csv' }\n"
        "heads = { kind = 'fixed_heads', logits = [[[1.0, 0, 0], [0, 1, 0], [0, 0, 1]]] }\n"
        "scheme = { kind = 'particles', dt = 0.05 }\nrun = { t_end = 0.1, save_every = 0.1 }\n"
    )
    assert run(tmp_path / "t.toml", "a.nc").exit_code == 0
    assert run(tmp_path / "a.nc", "again.nc").exit_code == 0
    (tmp_path / "tokens.csv").write_text("x,y,z\n1,0,0\n0,0.6,0.8\n")
    refused = run(tmp_path / "a.nc", "b.nc")
    assert refused.exit_code == 2 and "have changed" in refused.output
    assert not (tmp_path / "b.nc").exists()
    assert run(tmp_path / "t.toml", "b.nc").exit_code == 0
    compare = sf.compare(tmp_path / "a.nc", tmp_path / "again.nc")
    assert compare.attrs["different"] == ""
    assert sf.compare(tmp_path / "a.nc", tmp_path / "b.nc").attrs["different"] == "density"
