"""Datasets: their variables, provenance, files, and how they are read again."""
