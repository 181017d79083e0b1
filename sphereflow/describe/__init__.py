"""Objects as plain data and back: what every configurable class shares."""

from .configuration import arrays_kept, experiment_config, kind_of, to_config

__all__ = ["arrays_kept", "experiment_config", "kind_of", "to_config"]
