"""Head laws from the configurations of runs."""

from __future__ import annotations

from ..describe.building import build_object, code_allowed
from ..describe.registry import LAWS
from .law import HeadLaw

__all__ = ["law_class_of", "law_of"]


def law_of(config: object) -> HeadLaw | None:
    """The head law that a table of a configuration describes; no code of a user is imported.

    Parameters
    ----------
    config : mapping or None
        The section `heads` of a run, as `to_config` wrote it.

    Returns
    -------
    HeadLaw or None
        None if the run is without heads.

    Raises
    ------
    SphereflowError
        If the law is of an unknown kind, names functions that would have to be imported, or has
        arrays that are kept in the file of its run.

    Examples
    --------
    >>> import sphereflow as sf
    >>> law = law_of({"kind": "ornstein_uhlenbeck", "target": 1.0, "sigma": 0.5})
    >>> law.variance(0.0)
    1.0
    """
    if config is None or config == {"kind": "none"}:
        return None
    with code_allowed(False):
        law = build_object(config, LAWS, "heads")
    assert isinstance(law, HeadLaw)
    return law


def law_class_of(config: object) -> type[HeadLaw] | None:
    """The class of that law, which needs none of its arguments; None if it is not known."""
    found = LAWS.class_of(config)
    return found if found is not None and issubclass(found, HeadLaw) else None
