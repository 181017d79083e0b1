"""Experiments: read from files, built, run, swept."""
