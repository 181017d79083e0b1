"""What the pictures of a run are made of: projections, fields on the sphere, maps, series."""
