"""BibTeX entries for the methods that a run used."""

from __future__ import annotations

import importlib.resources
import re

from ..describe.registry import DENSITIES, LAWS, SCHEMES
from ..errors import InputError
from ..version import __version__
from .reading import experiment_of, open_run, section_of

__all__ = ["cite"]

ALWAYS = ("sphereflow", "massucco2026", "hoyer2017")


def cite(run: object = None) -> None:
    """Print BibTeX entries for this package and the methods that a run used.

    Parameters
    ----------
    run : xarray.Dataset or path, optional
        A run, a comparison or a sweep; without it only what every run uses.

    Raises
    ------
    InputError
        If it is no dataset of this package.

    Examples
    --------
    >>> import sphereflow as sf
    >>> problem = sf.TransformerPDE(None, sf.Uniform())
    >>> run = sf.solve(problem, t_end=1.0, scheme=sf.FiniteVolume(1), save_every=1.0)
    >>> sf.cite(run)  # doctest: +ELLIPSIS
    @software{sphereflow,
    ...
    @article{ketcheson2008,
    ...
    """
    keys = [*ALWAYS, *_methods(None if run is None else _attributes(run))]
    text = importlib.resources.files(__package__).joinpath("references.bib").read_text("utf-8")
    entries = {
        key: entry.strip()
        for entry in re.split(r"\n\n(?=@)", text.replace("VERSION", __version__))
        for key in re.findall(r"^@\w+\{(\w+),", entry.strip())
    }
    print("\n\n".join(entries[key] for key in dict.fromkeys(keys)))


def _attributes(run: object) -> dict[str, object]:
    if not hasattr(run, "attrs"):
        run = open_run(run, "run")
    attributes = dict(run.attrs)
    if "experiment" not in attributes and "transport_method" not in attributes:
        raise InputError(
            "run must be a dataset of sphereflow with the attribute 'experiment', got the "
            f"attributes {sorted(attributes)!r:.200}; pass what solve or compare returned"
        )
    return attributes


def _methods(attributes: dict[str, object] | None) -> list[str]:
    if attributes is None:
        return []
    if attributes.get("transport_method", "none") != "none":
        return ["flamary2021"]
    experiment_of(attributes)
    keys = ["reinecke2023"]
    if attributes.get("final_engine") == "shtns":
        keys.append("schaeffer2013")
    for registry, section in ((SCHEMES, "scheme"), (LAWS, "heads"), (DENSITIES, "density")):
        keys += registry.references(section_of(attributes, section))
    return keys
