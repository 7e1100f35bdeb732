"""The NMDA dendrite in closed form: when it is bistable, and between which weights.

    τ dv/dt = E_L - v + w B(v) (E - v),    B(v) = 1/(1 + η e^(-γv)),    w = g s / g_L

rests where w = w(v) = (v - E_L)(1 + η e^(-γv))/(E - v). With x = v - E_L, L = E - E_L and k = η e^(-γ E_L)

    dw/dv = 0  ⇔  f(x) = k e^(-γx) [γx (L - x) - L] - L = 0,    f'(x) ∝ (x - L)(γx - 2),

so that f rises up to x = 2/γ, falls up to L, and is -L or less at 0 and L. Hence two folds, one on either side of 2/γ,
if and only if f(2/γ) > 0, that is

    γL > 4  and  k > e² / (1 - 4/(γL)),        and at a fold  w = γx² / (γx (L - x) - L).

The folds meet in a cusp at v = E_L + 2/γ. Between their weights two stable voltages, rest and plateau, face each other.

With a constant driving force, E - v ≈ E - V0, the equation x = J σ(x - θ), where x = γ(v - E_L), θ = ln k and
J = γ w (E - V0), has its folds where (x - 1) e^(θ - x) = 1, solved by Lambert's W; see `constant_drive_folds`.

Source: the conditions of Kayser, Wybo & Bouhadjar, "NMDA receptor dynamics enable single-neuron working memory in
spiking neural networks" (abstract), derived here; the block is that of Jahr & Stevens 1990, J Neurosci 10:3178.
"""

import functools
import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import sympy
from scipy.optimize import brentq
from scipy.special import lambertw

from sims.analysis import symbolic
from sims.analysis.fixed_points import at_rest

BRANCHES = (0, -1)


class Folds(NamedTuple):
    """The two weights between which a dendrite is bistable, in units of the leak conductance, and the voltages (mV) of
    the state that vanishes there: the plateau at w_low, the rest at w_high."""

    w_low: float
    v_low: float
    w_high: float
    v_high: float


@dataclass(frozen=True)
class Dendrite:
    """eta: block at 0 mV.  gamma: its slope, 1/mV.  E_L, E: reversal potentials of leak and NMDA conductance, mV.

    Raises ValueError where E <= E_L, or eta or gamma is not positive.
    """

    eta: float
    gamma: float
    E_L: float
    E: float = 0.0

    def __post_init__(self):
        if not (self.E > self.E_L and self.eta > 0 and self.gamma > 0):
            raise ValueError(f"expected E > E_L and positive eta and gamma, found {self}")

    @property
    def steepness(self):
        """γL, which must exceed 4."""
        return self.gamma * (self.E - self.E_L)

    @property
    def block(self):
        """k = η e^(-γ E_L), the block at E_L, which must exceed `least_block`."""
        return self.eta * math.exp(-self.gamma * self.E_L)

    @property
    def least_block(self):
        """e²/(1 - 4/(γL)), or infinity where γL <= 4."""
        return math.exp(2) / (1 - 4 / self.steepness) if self.steepness > 4 else math.inf

    @property
    def bistable(self):
        """Whether there is a weight at which it has two stable voltages."""
        return self.block > self.least_block

    @property
    def cusp(self):
        """The voltage, mV, at which the folds meet when parameters change until they vanish."""
        return self.E_L + 2 / self.gamma

    @property
    def condition(self):
        """In words and numbers: what makes it bistable, or what fails."""
        if self.steepness <= 4:
            return f"gamma*(E - E_L) = {self.steepness:.4g} is not above 4: the block is too shallow for a plateau"
        sides = f"eta*exp(-gamma*E_L) = {self.block:.4g}", f"exp(2)/(1 - 4/(gamma*(E - E_L))) = {self.least_block:.4g}"
        if not self.bistable:
            return f"{sides[0]} is not above {sides[1]}: the block at rest is too weak for a plateau"
        return f"gamma*(E - E_L) = {self.steepness:.4g} > 4 and {sides[0]} > {sides[1]}"

    def weight(self, v):
        """The weight at which v, mV, is a fixed point."""
        return (v - self.E_L) * (1 + self.eta * np.exp(-self.gamma * v)) / (self.E - v)

    def folds(self):
        """Folds, or None where the dendrite has one fixed point for every weight."""
        if not self.bistable:
            return None
        length, gamma = self.E - self.E_L, self.gamma

        def slope(x):
            return self.block * math.exp(-gamma * x) * (gamma * x * (length - x) - length) - length

        found = []
        for bracket in ((2 / gamma, length), (0, 2 / gamma)):
            x = brentq(slope, *bracket, xtol=1e-14, rtol=1e-15)
            found += [gamma * x**2 / (gamma * x * (length - x) - length), self.E_L + x]
        return Folds(*found)


def constant_drive_folds(theta):
    """Folds of x = J σ(x - θ), the dendrite with a constant driving force.

    x± = 1 - W(-e^(1-θ)) on the branches 0 (+) and -1 (-) of Lambert's W, and J± = x±²/(x± - 1): bistable for
    J- < J < J+.  theta: ln k, dimensionless.  Returns ((x-, J-), (x+, J+)), or None where θ <= 2.
    """
    if theta <= 2:
        return None
    branch = {number: float(lambertw(-math.exp(1 - theta), number).real) for number in BRANCHES}
    return tuple((1 - W, (1 - W) ** 2 / -W) for W in (branch[-1], branch[0]))


@dataclass(frozen=True)
class Form:
    """The NMDA dendrite found in an equation file, as sympy expressions in its parameters and gates, SI units.

    eta, gamma, E_L, E: as in Dendrite.  leak: the sum of all linear conductances over the capacitance.
    strength: w, the NMDA conductance in units of the linear ones.
    """

    eta: sympy.Expr
    gamma: sympy.Expr
    E_L: sympy.Expr
    E: sympy.Expr
    leak: sympy.Expr
    strength: sympy.Expr

    def dendrite(self, values):
        """The Dendrite at values ({name: SI value}), or None where they give none, such as a leak of zero."""
        eta, gamma, E_L, E, leak = (_number(x, values) for x in (self.eta, self.gamma, self.E_L, self.E, self.leak))
        if not (leak > 0 and E > E_L and eta > 0 and gamma > 0):
            return None
        return Dendrite(eta, gamma / 1e3, E_L * 1e3, E * 1e3)

    def weight(self, values):
        """w at values."""
        return _number(self.strength, values)

    def weight_per(self, name, values):
        """w for each unit of a factor of it, such as the parameter w; None where `name` is more or less than that."""
        unit = _over(self.strength, name)
        others = (unit, self.eta, self.gamma, self.E_L, self.E, self.leak)
        if any(part.has(symbolic.symbol(name)) for part in others):
            return None
        return _number(unit, values)


def recognise(model):
    """The Form of a neuron file whose dv/dt is, whatever its names, linear in v but for one conductance with a
    magnesium block.

    As a function of v and X = e^(a v + b) such a dv/dt is (n0 + n1 X)/(d0 + d1 X), where n0/d0 and n1/d1 are linear in
    v: the dendrite with all its block gone, and with its block complete.
    Returns None for anything else, also where another state follows v.
    """
    found = _block(model)
    if found is None:
        return None
    slope = _number(found[0], at_rest(model, np.asarray(-0.07), {}))
    return None if slope == 0 else _form(model, slope > 0)


@symbolic.of_equations
def _block(model):
    """(slope, offset, drift, X): of X = exp(slope v + offset), the one exponential of v in dv/dt, which is `drift`.

    None where there is none, or more than one."""
    v, X = symbolic.symbol("v"), sympy.Dummy("X", positive=True)
    if any("v" in model.needs(e.expression.names) for name, e in model.states.items() if name != "v"):
        return None
    drift = symbolic.derivative(model, "v")
    exponentials = [] if drift is None else [e for e in drift.atoms(sympy.exp) if e.has(v)]
    if len(exponentials) != 1:
        return None
    (exponent,) = exponentials[0].args
    slope = sympy.diff(exponent, v)
    return None if slope.has(v) else (slope, exponent.subs(v, 0), drift.subs(exponentials[0], X), X)


@symbolic.of_equations
def _form(model, growing):
    """The Form of what `_block` found, or None; growing: whether X grows with v."""
    slope, offset, drift, X = _block(model)
    v = symbolic.symbol("v")
    rational = sympy.fraction(sympy.cancel(sympy.together(drift)))
    if not all(part.is_polynomial(v, X) for part in rational):
        return None
    numerator, denominator = (sympy.Poly(part, X, v) for part in rational)
    if denominator.degree(v) > 0 or denominator.degree(X) != 1 or numerator.degree(X) > 1 or numerator.degree(v) != 1:
        return None
    ends = [[numerator.coeff_monomial(X**i * v**j) / denominator.coeff_monomial(X**i) for j in (0, 1)] for i in (0, 1)]
    ratio = denominator.coeff_monomial(X) / denominator.coeff_monomial(1)
    eta = ratio * sympy.exp(offset)
    if growing:  # X stands for the open channels
        ends, eta, slope = ends[::-1], 1 / eta, -slope
    (open_0, open_1), (leak_0, leak_1) = ends
    return Form(
        eta=eta,
        gamma=-slope,
        E_L=sympy.cancel(-leak_0 / leak_1),
        E=sympy.cancel((leak_0 - open_0) / (open_1 - leak_1)),
        leak=sympy.cancel(-leak_1),
        strength=sympy.cancel((open_1 - leak_1) / leak_1),
    )


@functools.cache
def _over(found, name):
    return sympy.cancel(found / symbolic.symbol(name))


def _number(found, values):
    number = found.subs({s: float(values[s.name]) for s in found.free_symbols})
    return float(number) if number.is_finite else math.nan
