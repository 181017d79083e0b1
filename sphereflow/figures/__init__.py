"""Figures, movies and pages of runs."""
