"""H sampled Ornstein–Uhlenbeck heads against the law of infinitely many."""

import numpy as np

import sphereflow as sf

law = sf.OrnsteinUhlenbeck(target=np.eye(3), sigma=0.5, initial_std=0.5)
density = sf.VonMisesFisher(mean=[0, 0, 1], concentration=2.0)
problem = sf.TransformerPDE(law, density, flow="descent")
scheme = sf.Spectral(lmax=31, spectrum_degree=16)

limit = sf.solve(problem, t_end=0.5, scheme=scheme, save_at=[0.0, 0.5], rtol=1e-5)
for count in (4, 16, 64):
    distances = []
    for seed in range(4):
        finite = problem.with_heads(law.sample(count, seed=seed, dt=0.05))
        run = sf.solve(finite, t_end=0.5, scheme=scheme, save_at=[0.0, 0.5], rtol=1e-5)
        distances.append(float(sf.compare(limit, run, transport=False).sobolev[-1]))
    print(f"{count:4d} heads: distance {np.sqrt(np.mean(np.square(distances))):.1e}")
