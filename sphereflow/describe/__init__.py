"""Objects as plain data and back: what every configurable class shares."""

from .configuration import arrays_kept, experiment_config, kind_of, to_config
from .given import Given

__all__ = ["Given", "arrays_kept", "experiment_config", "kind_of", "to_config"]
