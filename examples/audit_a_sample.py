"""Three generated samples that look alike in a scatter plot, and what an audit says of each.

Run `python examples/audit_a_sample.py`. The data lie on a torus; one sample is fresh from the same law, one is the data
with some jitter along the surface, one leaves out a part of the torus.
"""

import argparse

import jax
import jax.numpy as jnp
import numpy as np

from manifold_diffusion import evaluation, geometry, measures


def main(size: int = 2000, new: int = 1000) -> dict[str, str]:
    """{sample: verdict}."""
    key, torus = jax.random.key(0), geometry.Torus(1.0, 0.4)
    truth = measures.Uniform(torus)
    data, fresh, pool = (measures.draw(truth.sample, jax.random.key(i), n) for i, n in enumerate((size, new, 8 * new)))
    jitter = 1e-3 * jax.random.normal(key, (new, 3))
    samples = {
        "fresh": fresh,
        "copies": jax.vmap(torus.project)(data[:new] + jitter),
        "half missing": pool[jnp.nonzero(pool[:, 0] > 0, size=new)[0]],
    }
    verdicts = {}
    for name, points in samples.items():
        report = evaluation.audit(np.asarray(data), np.asarray(points), key=key)
        judged = report.generated
        verdicts[name] = judged.verdict
        print(
            f"{name:13s} {judged.verdict:12s} novelty ratio {judged.novelty.ratio.value:.2f}, "
            f"covered {judged.coverage.covered.value:.2f} (fresh data: {judged.coverage.null.value:.2f})"
        )
        print(f"{'':13s} {judged.reason}")
    return verdicts


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=2000, help="how many data (default 2000)")
    parser.add_argument("--new", type=int, default=1000, help="how many points in each sample (default 1000)")
    main(**vars(parser.parse_args()))
