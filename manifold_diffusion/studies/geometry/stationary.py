"""The stationary law of a diffusion whose drift is no gradient, near a plane curve: finite volumes, no particles.

dX = (grad U + e) dt + sqrt(2) dW has the stationary law pi with div((grad U + e) pi - grad pi) = 0. Between the centres
of two cells, a distance h apart, the flux of an exponentially fitted scheme (Scharfetter and Gummel, "Large-signal
analysis of a silicon Read diode oscillator", 1969) is

    (B(-z) pi_i - B(z) pi_j) / h,    B(z) = z / (e^z - 1),    z = U_j - U_i + h e.(y_j - y_i) / |y_j - y_i|,

so that without e the law exp(U) is kept exactly, however steep U is. Nothing flows out of the sides of the tube.
"""

import numpy as np
from jaxtyping import Float

from manifold_diffusion.studies.geometry.tube import Field, Profile, Tube


def stationary(
    profile: Profile, tube: Tube, potential: Float[np.ndarray, "t s"], field: Field
) -> Float[np.ndarray, "t s"]:
    """The masses of the nodes under pi, for U = `potential` at the nodes and the vector field e = `field`; curves
    only.
    """
    from scipy import sparse
    from scipy.sparse.linalg import spsolve

    t, s = tube.t, tube.offsets
    dt, ds = t[1] - t[0], s[1] - s[0]
    index = np.arange(potential.size).reshape(potential.shape)
    along, between = t + dt / 2, (s[1:] + s[:-1]) / 2
    length = _width(profile, along, s) * dt
    across = _width(profile, t, between) * dt
    rise_t = np.roll(potential, -1, 0) - potential + length * _part(profile, field, along, s, profile.tangent)
    rise_s = np.diff(potential, axis=1) + ds * _part(profile, field, t, between, profile.normal)
    pairs = [
        (index, np.roll(index, -1, 0), rise_t, ds / length),
        (index[:, :-1], index[:, 1:], rise_s, across / ds),
    ]
    rows, columns, values = [], [], []
    for i, j, rise, conductance in pairs:
        i, j = i.ravel(), j.ravel()
        there, back = (conductance * _bernoulli(-rise)).ravel(), (conductance * _bernoulli(rise)).ravel()
        rows += [j, i, i, j]
        columns += [i, i, j, j]
        values += [there, -there, back, -back]
    joined = (np.concatenate(values), (np.concatenate(rows), np.concatenate(columns)))
    balance = sparse.csr_array(joined, shape=(potential.size, potential.size))
    # The law is known up to a factor: one value is fixed where there is mass.
    fixed = int(np.argmax(potential))
    others = np.delete(np.arange(potential.size), fixed)
    law = np.ones(potential.size)
    law[others] = np.asarray(
        spsolve(balance[others][:, others].tocsc(), -balance[others][:, [fixed]].toarray().ravel())
    )
    masses = law.reshape(potential.shape) * tube.volumes
    return masses / np.sum(masses)


def _width(profile: Profile, t: np.ndarray, s: np.ndarray) -> np.ndarray:
    """(1 - kappa s) |c'|."""
    return (1 - profile.curvature(t)[:, None] * s[None]) * profile.speed(t)[:, None]


def _part(profile: Profile, field: Field, t: np.ndarray, s: np.ndarray, direction: Field) -> np.ndarray:
    """The component of the field along `direction` at c(t) + s n(t)."""
    points = profile.point(t)[:, None] + s[None, :, None] * profile.normal(t)[:, None]
    return np.sum(field(points) * direction(t)[:, None], axis=-1)


def _bernoulli(z: np.ndarray) -> np.ndarray:
    small = np.abs(z) < 1e-5
    with np.errstate(over="ignore"):  # exp(z) = inf gives the right 0
        return np.where(small, 1 - z / 2 + z * z / 12, z / np.expm1(np.where(small, 1.0, z)))
