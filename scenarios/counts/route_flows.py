"""How many vehicles take each route: as the counts say, and otherwise as the plain guess has it.

Counts rarely fix the routes. Of all flows that fit them, the one nearest to the guess is taken, in the sense of
relative entropy (van Zuylen and Willumsen 1980): each route's guess is multiplied by one factor for each count that it
passes. Counts that contradict one another are met as well as they can be, larger ones with a larger tolerance.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.linalg import cho_factor, cho_solve, eigh

Floats = NDArray[np.float64]

#: Variance of a count's misfit, for each vehicle counted, beside one unit of relative entropy.
_TOLERANCE = 0.005
_STEPS, _CLOSE, _LONGEST_STEP = 200, 1e-6, 3.0
#: What a vehicle more or less than the fitted flow costs when flows are rounded, beside a count's squared misfit.
_ROUNDING_WEIGHT = 0.05


@dataclass(frozen=True)
class RouteFlows:
    """Fits and rounds flows on some routes.

    Attributes:
        passes: (E, R) sparse, 1 where a route passes a counted road.
        guess: (R,) how likely each route is before the counts are looked at, positive, in any unit.
    """

    passes: sparse.csr_matrix
    guess: Floats

    def fitted(self, counts_veh: Floats) -> Floats:
        """(R,) vehicles on each route; none on routes that pass no counted road.

        Args:
            counts_veh: (E,) vehicles counted on each road.
        """
        reached = np.asarray(self.passes.sum(axis=1)).ravel() > 0  # no flow can meet the other counts
        passes, counts = self.passes[reached], np.asarray(counts_veh, float)[reached]
        counted = np.asarray(passes.sum(axis=0)).ravel() > 0
        prior = np.where(counted, self.guess, 0.0)
        passed = float((passes @ prior).sum())
        if not passed or not counts.sum():
            return np.zeros(len(prior))
        prior *= counts.sum() / passed
        variance = _TOLERANCE * np.maximum(counts, 1.0)
        factors = np.zeros(len(counts))  # logarithms of the counts' factors: the dual variables

        def dual(factors: Floats) -> tuple[float, Floats]:
            flows = prior * np.exp(np.clip(passes.T @ factors, -60, 30))
            return float(flows.sum() - counts @ factors + 0.5 * variance @ factors**2), flows

        value, flows = dual(factors)
        for _ in range(_STEPS):
            slope = passes @ flows - counts + variance * factors
            if np.abs(slope / np.maximum(counts, 1.0)).max() < _CLOSE:
                break
            curvature = (passes.multiply(flows) @ passes.T).toarray() + np.diag(variance)
            step = -cho_solve(cho_factor(curvature), slope)
            step *= min(1.0, _LONGEST_STEP / max(float(np.abs(step).max()), 1e-12))
            size = 1.0
            while True:  # Newton's method with backtracking
                tried, tried_flows = dual(factors + size * step)
                if tried <= value + 1e-4 * size * float(slope @ step) or size < 1e-6:
                    break
                size /= 2
            factors, value, flows = factors + size * step, tried, tried_flows
        return flows

    def whole(self, flows: Floats, counts_veh: Floats, rng: np.random.Generator) -> NDArray[np.int64]:
        """(R,) whole vehicles, near ``flows`` and fitting the counts.

        Routes are in lexical order, so that a systematic sample gives each group with a common beginning its share,
        to one vehicle. Then vehicles are added and removed while this brings the counts nearer.
        """
        ends = np.floor(np.cumsum(flows) + rng.random())
        vehicles = np.diff(ends, prepend=0.0).astype(np.int64)
        usable = flows > 0
        scale = np.maximum(counts_veh, 1.0)
        passes_scaled = sparse.diags(1 / scale) @ self.passes
        squares = np.asarray(passes_scaled.sum(axis=0)).ravel()
        spread = flows + 0.5
        for _ in range(4 * len(scale) + int(vehicles.sum())):
            misfit = self.passes @ vehicles - counts_veh
            slope = 2 * np.asarray(passes_scaled.T @ misfit).ravel()
            away = 2 * _ROUNDING_WEIGHT * (vehicles - flows) / spread
            cost = squares + _ROUNDING_WEIGHT / spread
            more = np.where(usable, slope + away + cost, np.inf)
            less = np.where(vehicles > 0, -slope - away + cost, np.inf)
            best_more, best_less = int(np.argmin(more)), int(np.argmin(less))
            if min(more[best_more], less[best_less]) >= -1e-9:
                break
            if more[best_more] < less[best_less]:
                vehicles[best_more] += 1
            else:
                vehicles[best_less] -= 1
        return vehicles

    def fixed(self, sums: sparse.csr_matrix) -> NDArray[np.bool_]:
        """(T,) which sums of flows, (T, R), the counts fix, whatever the routes' flows are.

        A sum is fixed if it is a combination of the counts. That flows are not negative may fix some more.
        """
        used = np.asarray(self.passes.sum(axis=0)).ravel() > 0
        passes, sums = self.passes[:, used], sums[:, used]
        values, vectors = eigh((passes @ passes.T).toarray())
        kept = values > 1e-9 * max(float(values.max()), 1.0)
        shares = vectors[:, kept].T @ (passes @ sums.T).toarray()
        squared = np.asarray(sums.multiply(sums).sum(axis=1)).ravel()
        left = squared - (shares**2 / values[kept][:, None]).sum(axis=0)
        fixed: NDArray[np.bool_] = left < 1e-6 * np.maximum(squared, 1.0)
        return fixed
