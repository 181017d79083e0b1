"""Densities on the sphere: closed forms, series, tokens, what a run left."""
