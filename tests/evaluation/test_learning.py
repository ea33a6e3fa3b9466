"""What a training is watched by: errors along and across, held-out losses, and the numbers of a look."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from manifold_diffusion import evaluation, measures, scores
from manifold_diffusion.geometry import Sphere

SPHERE = Sphere(2)


def project(x, sigma):
    return SPHERE.project(x)


def test_the_exact_denoiser_is_the_projection_to_first_order(key):
    """Of the uniform law it is A(|x| / sigma^2) Pi(x), A = coth r - 1 / r: off by sigma^2 / |x| across, by 0 along."""
    points = measures.draw(SPHERE.uniform, key, 500)
    exact = scores.VonMisesFisherScore(jnp.asarray([0.0, 0.0, 1.0]), 0.0).denoise
    along, across = evaluation.error_parts(exact, SPHERE, points, 0.02, jax.random.key(9))
    assert float(along) < 1e-4
    assert float(across) == pytest.approx(0.02, rel=0.02)


def test_an_error_put_in_is_found_where_it_was_put(key):
    """2 sigma across, and sigma times the rotation about an axis along: its mean square is 2/3, 1/3 per dimension."""
    points = measures.draw(SPHERE.uniform, key, 500)

    def off(x, sigma):
        foot = SPHERE.project(x)
        return foot * (1 + 2 * sigma) + sigma * jnp.asarray([-foot[1], foot[0], 0.0])

    along, across = evaluation.error_parts(off, SPHERE, points, 0.001, jax.random.key(9))
    assert float(across) == pytest.approx(2.0, rel=0.01)
    assert float(along) == pytest.approx(np.sqrt(1 / 3), abs=0.03)


def test_the_denoising_loss_of_the_projection_is_the_dimension(key):
    points = measures.draw(SPHERE.uniform, key, 4000)
    losses = np.asarray(evaluation.denoising_losses(project, points, jnp.asarray([0.001, 0.01]), jax.random.key(9)))
    np.testing.assert_allclose(losses, 2.0, atol=4 * np.sqrt(4 / 4000))
    identity = evaluation.denoising_losses(lambda x, sigma: x, points, jnp.asarray([0.01]), jax.random.key(9))
    np.testing.assert_allclose(identity, 3.0, atol=4 * np.sqrt(6 / 4000))


def test_a_look_tells_a_memoriser_from_a_model_that_knows_the_sphere(key):
    data, held_out = (measures.draw(SPHERE.uniform, jax.random.fold_in(key, i), n) for i, n in ((0, 64), (1, 256)))

    def sampler(model):
        # One step from noise level 0.3: enough for a memoriser to return data, and for Pi to return new points.
        return lambda key: model(SPHERE.uniform(key) + 0.01 * jax.random.normal(key, (3,)), jnp.asarray(0.02))

    look = evaluation.LearningWatch(data, held_out, sampler, key, SPHERE, samples=400)
    knows, copies = look(project, 0), look(scores.KernelScore(data).denoise, 0)
    assert set(knows) == set(copies)
    assert knows["novelty"] == pytest.approx(1.0, abs=0.25)
    assert copies["novelty"] < 0.05
    assert copies["memorised"] > 0.9
    assert knows["memorised"] == pytest.approx(1 / 9, abs=0.06)
    assert knows["memorised_null"] == copies["memorised_null"] == pytest.approx(1 / 9, abs=0.08)
    assert knows["distance"] < 1e-5
    assert knows["dimension"] == pytest.approx(2.0, abs=0.3)
    assert copies["tangential"] > 0.3
    assert knows["tangential"] < 1e-5
    assert copies["held_out"] > 2 * knows["held_out"]
    assert copies["error"] ** 2 == pytest.approx(2 * copies["tangential"] ** 2 + copies["normal"] ** 2)
    assert copies["ratio"] == pytest.approx(copies["tangential"] / copies["normal"])
