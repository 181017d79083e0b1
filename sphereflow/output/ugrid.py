"""Voronoi meshes as UGRID-1.0 topologies, which uxarray and others open."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..sphere import VoronoiMesh

if TYPE_CHECKING:
    import xarray

__all__ = ["with_topology"]

# Dimension, values and attributes.
Described = tuple[str, NDArray[np.float64], dict[str, str]]

NO_NODE = -1  # in place of the sixth corner of a cell of five sides


def with_topology(dataset: xarray.Dataset, mesh: VoronoiMesh) -> xarray.Dataset:
    """The dataset with the variable `mesh`, its nodes, and the centres of its faces."""
    node_lon, node_lat = _degrees(mesh.vertices)
    face_lon, face_lat = _degrees(mesh.centres)
    corners = np.where(mesh.inside, mesh.cell_vertices, NO_NODE)
    topology = {
        "cf_role": "mesh_topology",
        "long_name": f"icosahedral Voronoi mesh of level {mesh.level}",
        "topology_dimension": np.int32(2),
        "node_coordinates": "node_lon node_lat",
        "face_coordinates": "face_lon face_lat",
        "face_node_connectivity": "face_nodes",
    }
    connectivity = {
        "cf_role": "face_node_connectivity",
        "long_name": "corners of each face, counterclockwise",
        "start_index": np.int32(0),
        "_FillValue": np.int32(NO_NODE),
    }

    def place(dimension: str, values: NDArray[np.float64], of: str, east: bool) -> Described:
        name = "longitude" if east else "latitude"
        units = "degrees_east" if east else "degrees_north"
        described = {"standard_name": name, "units": units, "long_name": f"{name} of {of}"}
        return dimension, values, described

    dataset = dataset.assign_coords(
        node_lon=place("node", node_lon, "the corners", True),
        node_lat=place("node", node_lat, "the corners", False),
        face_lon=place("face", face_lon, "the centres of the faces", True),
        face_lat=place("face", face_lat, "the centres of the faces", False),
    )
    dataset["mesh"] = ((), np.int32(0), topology)
    dataset["face_nodes"] = (("face", "corner"), corners.astype(np.int32), connectivity)
    dataset["face_area"] = (
        ("face",),
        mesh.areas,
        {"units": "sr", "long_name": "area of each face", "mesh": "mesh", "location": "face"},
    )
    for name in ("node_lon", "node_lat", "face_lon", "face_lat", "face_area"):
        dataset[name].encoding["_FillValue"] = None
    return dataset


def _degrees(points: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Longitudes and latitudes of unit vectors (n, 3); 0 the longitude of the poles."""
    x, y, z = points.T + 0.0  # of negative zeros it is ±180
    return np.degrees(np.arctan2(y, x)), np.degrees(np.arctan2(z, np.hypot(x, y)))
