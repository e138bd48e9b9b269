"""Soft neighbourhood density: how evenly each prediction is alike to the others."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["soft_neighbourhood_density"]

Array = NDArray[Any]

TEMPERATURE = 0.05  # Saito et al.
BLOCK = 128  # rows at once: two blocks of similarities stay in the processor's cache
NOTHING = -800.0  # a logarithm of mass below which there is none: exp(-800) is 0 in float64


def soft_neighbourhood_density(probabilities: Array, *, temperature: float = TEMPERATURE) -> float:
    r"""The mean entropy of the similarities of each prediction to all others.

    .. math:: -\frac1n \sum_i \sum_{j \neq i} q_{ij} \log q_{ij}, \quad
        q_{ij} \propto \exp(\langle \hat p_i, \hat p_j \rangle / \tau), \; j \neq i

    with the predictions scaled to length one, and no row its own neighbour. Each row's exponents are taken from its
    nearest neighbour's, so that no temperature is too small. Computed in the precision of the argument; in float64 for
    temperatures below 0.05, which multiply the rounding of the similarities.

    Args:
        probabilities: predicted probabilities, (n, k), n at least 2.
        temperature: tau, > 0.

    Returns:
        Between 0 and log(n - 1).

    Raises:
        ValueError: for fewer than two rows, numbers that are not finite, a row of zeros, or a temperature that is not
            positive.

    Source: Saito et al., Tune it the Right Way: Unsupervised Validation of Domain Adaptation via Soft Neighborhood
    Density, ICCV 2021, on softmax outputs with tau = 0.05.

    >>> round(soft_neighbourhood_density(np.array([[1.0, 0.0]] * 5)), 6) == round(float(np.log(4)), 6)
    True
    """
    if not (math.isfinite(temperature) and temperature > 0):
        raise ValueError(f"soft_neighbourhood_density needs a temperature > 0; got {temperature}.")
    if len(probabilities) < 2:
        raise ValueError(f"soft_neighbourhood_density needs two rows or more; got {len(probabilities)}.")
    if temperature < TEMPERATURE:
        probabilities = np.asarray(probabilities, dtype=np.float64)
    lengths = np.sqrt((probabilities * probabilities).sum(1, keepdims=True))
    if not (np.isfinite(lengths).all() and (lengths > 0).all()):
        raise ValueError("soft_neighbourhood_density needs finite probabilities that are not all 0 in a row.")
    units = probabilities / lengths
    entropies = [_entropies(units, start, temperature) for start in range(0, len(units), BLOCK)]
    return float(np.concatenate(entropies).mean(dtype=np.float64))


def _entropies(units: Array, start: int, temperature: float) -> Array:
    """The entropies of a block of rows, (m,)."""
    similarity = units[start : start + BLOCK] @ units.T  # (m, n), from 0 to 1
    block = np.arange(len(similarity))
    itself = block, start + block
    similarity[itself] = -1.0  # below every other
    similarity -= similarity.max(1, keepdims=True)
    similarity[itself] = 0.0
    np.maximum(similarity, temperature * NOTHING, out=similarity)  # so that no quotient is infinite
    similarity /= temperature
    mass = np.exp(similarity)
    mass[itself] = 0.0
    total = mass.sum(1)
    return np.asarray(np.log(total) - np.einsum("ij,ij->i", mass, similarity) / total)
