"""Gauss-Kronrod quadrature on [-1, 1], with null rules that tell how well a function is resolved."""

import functools
from typing import NamedTuple

import numpy as np

ORDER = 9


class Rule(NamedTuple):
    """Nodes on [-1, 1] with weights; weights that are positive at the ends too; null rules, a row for each."""

    nodes: np.ndarray
    weights: np.ndarray
    positive: np.ndarray
    nulls: np.ndarray


@functools.cache
def kronrod(order: int = ORDER) -> Rule:
    """Kronrod's 2 order + 1 nodes, and the two ends with the weight 0: what lies between an end and the next node must
    not go unnoticed.

    The nodes are those of Gauss and the roots of the Stieltjes polynomial E, for which P_order E is orthogonal to all
    polynomials up to its degree (Kronrod 1965). The null rules, which vanish up to the degree 2 order - 1, are Kronrod
    less Gauss and two that are orthogonal to it, of the same length (Berntsen and Espelid, BIT 1991).
    """
    legendre = np.polynomial.legendre
    gauss, gauss_weights = legendre.leggauss(order)
    x, w = legendre.leggauss(2 * order + 2)
    values = legendre.legvander(x, order + 1)
    products = np.einsum("q,qi,qj->ij", w * values[:, order], values[:, : order + 1], values)
    stieltjes = np.append(np.linalg.lstsq(products[:, :-1], -products[:, -1], rcond=None)[0], 1.0)
    inner = np.sort(np.concatenate([gauss, legendre.legroots(stieltjes).real]))
    weights = np.linalg.solve(legendre.legvander(inner, 2 * order).T, 2 * np.eye(len(inner))[0])
    difference = weights.copy()
    difference[1::2] -= gauss_weights
    nodes, difference = np.concatenate([[-1.0], inner, [1.0]]), np.pad(difference, 1)
    length = np.linalg.norm(difference)
    known = np.column_stack([legendre.legvander(nodes, 2 * order - 1), difference / length])
    others = np.linalg.qr(known, mode="complete")[0][:, -2:].T
    weights = np.pad(weights, 1)
    return Rule(nodes, weights, np.maximum(weights, weights[1]), np.stack([difference, *length * others]))


@functools.cache
def tensor(k: int) -> tuple[np.ndarray, np.ndarray]:
    """The nodes and the weights of the product of k rules."""
    nodes = np.stack([a.ravel() for a in np.meshgrid(*[kronrod().nodes] * k, indexing="ij")], -1)
    return nodes, functools.reduce(np.multiply.outer, [kronrod().weights] * k).ravel()
