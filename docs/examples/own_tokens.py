"""Tokens of your own, from a file, beside the density that smooths them."""

import numpy as np

import sphereflow as sf

# A file of yours: columns x, y, z and if wanted weight; .npy, .npz and .nc go as well.
points = sf.VonMisesFisher(mean=[0, 1, 1], concentration=5.0).sample(500, seed=1)
np.savetxt("tokens.csv", points, delimiter=",", header="x,y,z", comments="")

problem = sf.TransformerPDE(sf.FixedHeads(np.eye(3)), sf.EmpiricalDensity("tokens.csv"))
tokens = sf.solve(problem, t_end=2.0, scheme=sf.Particles(dt=0.05), save_every=1.0)
smooth = sf.TransformerPDE(
    sf.FixedHeads(np.eye(3)), sf.EmpiricalDensity("tokens.csv", bandwidth=0.2)
)
run = sf.solve(smooth, t_end=2.0, scheme="auto", save_every=1.0, rtol=1e-4)
report = sf.compare(run, tokens)
print("first moments differ by", report.first_moment.values)
print("Wasserstein distance W2", report.w2.values)
