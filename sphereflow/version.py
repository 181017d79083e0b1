"""The version, in one place."""

__version__ = "0.1.0"

LAYOUT = 1  # of datasets; raised when a reader of the older one would misread a newer one
