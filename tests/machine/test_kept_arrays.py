"""Arrays that are kept on disk between processes."""

import numpy as np
import pytest

from sphereflow.machine import kept_arrays as module
from sphereflow.machine.kept_arrays import kept_arrays
from sphereflow.schemes import reconstruction
from sphereflow.sphere import voronoi_mesh


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "cache_folder", lambda: tmp_path / "cache")
    return tmp_path / "cache"


def counted(values):
    calls = []

    def make():
        calls.append(1)
        return {"a": values, "b": np.arange(3)}

    return make, calls


def test_they_are_made_once(folder):
    values = np.random.default_rng(0).standard_normal((50, 4))
    make, calls = counted(values)
    for _ in range(3):
        kept = kept_arrays("thing", ("a", "b"), make)
        np.testing.assert_array_equal(kept["a"], values)
        assert kept["b"].dtype == np.int64
    assert len(calls) == 1 and [file.name for file in folder.iterdir()] == ["thing.npz"]


@pytest.mark.parametrize("damage", ["flipped", "cut", "empty", "other", "folder"])
def test_damaged_files_are_made_anew(folder, damage):
    values = np.random.default_rng(0).standard_normal((50, 4))
    make, calls = counted(values)
    kept_arrays("thing", ("a", "b"), make)
    file = folder / "thing.npz"
    content = bytearray(file.read_bytes())
    content[500] ^= 4
    if damage == "folder":
        file.unlink()
        file.mkdir()
    else:
        changed = {"flipped": content, "cut": content[:700], "empty": b"", "other": b"no archive"}
        file.write_bytes(changed[damage])
    np.testing.assert_array_equal(kept_arrays("thing", ("a", "b"), make)["a"], values)
    assert len(calls) == 2


def test_where_nothing_can_be_kept_they_are_made(folder):
    folder.write_text("a file in place of the folder")
    make, calls = counted(np.ones(3))
    assert kept_arrays("thing", ("a",), make)["a"].sum() == 3.0
    assert len(calls) == 1


def test_coefficients_from_disk_are_those_that_were_fitted(folder, monkeypatch):
    monkeypatch.setattr(reconstruction, "KEPT_FROM", 2)
    mesh = voronoi_mesh(3)
    fitted = reconstruction.edge_coefficients.__wrapped__(mesh, 4)
    again = reconstruction.edge_coefficients.__wrapped__(mesh, 4)
    assert [file.name for file in folder.iterdir()] == ["edge_coefficients_1_3_4.npz"]
    np.testing.assert_array_equal(again, fitted)
