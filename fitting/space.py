"""The space that a fit searches: the parameters that an equation file marks `fit: true`, within their bounds.

A point of it has a coordinate from 0 to 1 for each parameter, so that all are searched with steps of one size. Where
the bounds are positive and span a factor of ten or more, steps are of the logarithm.
"""

import numpy as np

from sims.equations import EquationError

DECADE = 10


class Space:
    """The fitted parameters of a Model.

    Attributes: names, low, high and typical (the file's own values), in SI units, and logarithmic (bool), all in one
    order.  Raises EquationError where the file marks nothing to fit.
    """

    def __init__(self, model):
        fitted = [parameter for parameter in model.parameters.values() if parameter.fit]
        if not fitted:
            raise EquationError(f"{model.path}:1: marks no parameter `fit: true`, expected at least one to fit")
        self.names = tuple(parameter.name for parameter in fitted)
        self.low, self.high = (np.array([parameter.bounds[end].si for parameter in fitted]) for end in (0, 1))
        self.typical = np.array([parameter.value.si for parameter in fitted])
        with np.errstate(divide="ignore", invalid="ignore"):
            self.logarithmic = (self.low > 0) & (self.high / self.low >= DECADE)

    def __len__(self):
        return len(self.names)

    def values(self, point):
        """{parameter: SI value} at a point.

        point: from 0 to 1, NumPy array or tensor [..., parameter]; the values have its kind and leading shape.
        """
        found = {}
        for k, name in enumerate(self.names):
            low, high, place = float(self.low[k]), float(self.high[k]), point[..., k]
            found[name] = low * (high / low) ** place if self.logarithmic[k] else low + (high - low) * place
        return found

    def numbers(self, point):
        """The values at one point as plain numbers, which rounding takes over no bound."""
        values = np.array([float(value) for value in self.values(point).values()])
        return dict(zip(self.names, np.clip(values, self.low, self.high).tolist(), strict=True))

    def point(self, values):
        """The point, float64 [parameter], of {parameter: SI value}; those beyond a bound are taken to it."""
        given = np.clip(np.array([values[name] for name in self.names]), self.low, self.high)
        with np.errstate(divide="ignore", invalid="ignore"):
            place = np.log(given / self.low) / np.log(self.high / self.low)
        return np.where(self.logarithmic, place, (given - self.low) / (self.high - self.low))

    @property
    def start(self):
        """The point of the file's own values."""
        return self.point(dict(zip(self.names, self.typical, strict=True)))
