"""Tokens drawn from μ_0 against the density: does the difference fall like n^(−1/2)?"""

import numpy as np

import sphereflow as sf

heads = sf.FixedHeads(np.array([np.diag([1.0, 0.5, -0.5]), np.diag([-0.5, 1.0, 0.5])]))
density = sf.VonMisesFisher(mean=[0, 0, 1], concentration=3.0)
problem = sf.TransformerPDE(heads, density, flow="ascent")

run = sf.solve(problem, t_end=1.0, scheme=sf.Spectral(lmax=47), save_every=0.5)
for count in (100, 400, 1600):
    scheme = sf.Particles(count, dt=0.05, seed=1, paths=4, stepper="rk4")
    tokens = sf.solve(problem, t_end=1.0, scheme=scheme, save_every=0.5)
    report = sf.compare(run, tokens, transport=False)
    distance = float((report.sobolev.isel(time=-1) ** 2).mean() ** 0.5)
    expected = float(report.sobolev_expected.isel(time=-1).mean())
    print(f"{count:5d} tokens: distance {distance:.1e}, expected of sampling {expected:.1e}")
