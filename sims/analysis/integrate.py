"""A neuron Model stepped in NumPy, many trials at once: the plain twin that other backends are compared with.

Exponential Euler: dx/dt = (rest - x) rate, solved exactly over a step with everything else held, subexpressions that
read x (such as B(v) in dv/dt) included,

    x ← rest + (x - rest) exp(-rate dt),

of first order in dt, and bounded at any dt where every rate is positive: the membrane's is (1 + w s B)/τ_m. Explicit
Euler, x ← x + dt dx/dt, multiplies a small error by 1 - rate dt and diverges above dt = 2/rate. All states move at
once, from the values that all had before the step.
"""

import numpy as np

from sims.backends.mechanisms import linear_form
from sims.mistakes import Mistake

SCHEMES = ("exponential_euler", "euler")


class StepError(Mistake):
    """A step or a scheme that this integrator does not take; its text says what was found and what was expected."""


class Integrator:
    """One step of a Model.

    dt: s.  held: names of states that stay as they are given.  scheme: by default the file's own.
    Raises StepError for a step that is not positive or another scheme, EquationError where exponential Euler finds an
    equation that is not linear in its own state.
    """

    def __init__(self, model, dt, held=(), scheme=None):
        self.scheme = scheme or model.integration
        if self.scheme not in SCHEMES:
            raise StepError(f"{model.path}:1: found integration {self.scheme}, expected one of: {', '.join(SCHEMES)}")
        if not dt > 0:
            raise StepError(f"dt: found {dt:g} s, expected a positive step")
        self.model, self.dt = model, dt
        self.moving = [name for name in model.states if name not in held]
        if self.scheme == "exponential_euler":
            self.forms = {
                name: linear_form(model.states[name], model.dimensions, "exponential Euler") for name in self.moving
            }

    def step(self, values):
        """The states dt later.

        values: {name: number or array, SI} of all parameters and states (as from `Model.values`), and of t where the
        equations read it.  Returns {state: array}, held ones left out.
        """
        if self.scheme == "euler":
            return {name: values[name] + self.dt * self.model.derivative(name, values) for name in self.moving}
        known, after = {**values, **self.model.compute(values)}, {}
        for name, (rest, rate) in self.forms.items():
            target = rest.evaluate(known)
            after[name] = target + (values[name] - target) * np.exp(-rate.evaluate(known) * self.dt)
        return after

    def run(self, seconds, values):
        """`values` with the states after `seconds`, and the voltage at every step, shape (steps, …), volt."""
        values, trace = dict(values), []
        for _ in range(round(seconds / self.dt)):
            values |= self.step(values)
            trace.append(values["v"])
        return values, np.array(trace)
