"""The command `sphereflow`."""

from .app import app, main

__all__ = ["app", "main"]
