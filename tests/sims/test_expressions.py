"""Expressions and quantities: exact, checked, never executed."""

from fractions import Fraction

import numpy as np
import pytest
from brian2.units import mM, second, volt
from hypothesis import given, settings
from hypothesis import strategies as st

from sims.expressions import ExpressionError, cable_units, expression, quantity

VOLT = {"v": volt.dim}


@pytest.mark.parametrize(
    "text, value",
    [
        ("-75*mV", Fraction(-75, 1000)), ("0.00643/ms/mV", 6430), ("3e-5*siemens/cm**2", Fraction(3, 10)),
        ("96485.3*coulomb/mole", Fraction(964853, 10)), ("1e-4*mM", Fraction(1, 10000)), ("2*(3 - 1)", 4),
    ],
)  # fmt: skip
def test_a_quantity_is_exact(text, value):
    assert quantity(text).value == value


@pytest.mark.parametrize(
    "text, value",
    [
        ("-75*mV", -75.0), ("0.1*um", 1e-5), ("1*uF/cm**2", 1e-3), ("96485.3*coulomb/mole", 96485.3), ("2*mM", 2.0),
        ("0.0004*uS", 4e-10), ("100*ohm*cm", 100.0), ("0.193/ms", 0.193), ("279.45*kelvin", 279.45),
    ],
)  # fmt: skip
def test_the_cable_units_need_no_conversion_factor(text, value):
    assert cable_units(quantity(text)) == value


def test_exprel_is_exact_where_its_quotient_is_not_defined():
    exprel = expression("exprel(v/mV)", VOLT)
    x = np.array([0, 1e-12, 1e-6, 1, -40])
    assert exprel.evaluate({"v": x * 1e-3}) == pytest.approx([1, 1 + 5e-13, 1 + 5e-7, np.e - 1, 1 / 40], rel=1e-12)


@pytest.mark.parametrize("v, expected", [(-0.06, 2.0), (-0.04, 3.0)])
def test_a_comparison_under_int_chooses(v, expected):
    assert expression("2*int(v < -50*mV) + 3*int(v >= -50*mV)", VOLT).evaluate({"v": v}) == expected


@pytest.mark.parametrize(
    "text",
    [
        "v + 1",
        "exp(v)",
        "v.real",
        "v[0]",
        "lambda: v",
        "f(v)",
        "v if v else v",
        "1 < v < 2",
        "'v'",
        "True",
        "xi",
        "v @ v",
    ]
    + ["[v for v in v]", "(v := 1)", "exp(x=v)", "exp(*v)", "v**v", "v +", "", "(" * 999, "1+" * 900 + "1", "9" * 5000],
)
def test_what_is_not_arithmetic_on_known_names_is_refused(text):
    with pytest.raises(ExpressionError):
        expression(text, VOLT)


@pytest.mark.parametrize(
    "text",
    ["", "mV*", "1/0", "0**-1", "1e999", "9**9**9", "10**300*10**300", "1 + mV", "0x1f", "1j", "True", "2 mV", "v"],
)
def test_what_is_not_a_number_with_a_unit_is_refused(text):
    with pytest.raises(ExpressionError):
        quantity(text)


def test_dimensions_follow_from_the_parts():
    assert expression("v/(2*ms)", VOLT).dimension is (volt / second).dim
    assert expression("c**2", {"c": mM.dim}).dimension is (mM**2).dim


LEAVES = st.one_of(st.sampled_from(["a", "b"]), st.floats(0.1, 10).map(lambda x: repr(round(x, 3))))
TREES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from("+-*/"), inner).map(lambda t: f"({t[0]} {t[1]} {t[2]})"),
        inner.map(lambda x: f"tanh({x})"),
        inner.map(lambda x: f"-{x}"),
    ),
    max_leaves=12,
)


@settings(deadline=None)
@given(TREES)
def test_an_expression_evaluates_as_python_would(text):
    one = quantity("1").dimension
    a, b = np.array([0.5, 1.5]), np.array([2.0, -0.25])
    found = expression(text, {"a": one, "b": one})
    with np.errstate(all="ignore"):
        value = found.evaluate({"a": a, "b": b})
        expected = eval(text, {"a": a, "b": b, "tanh": np.tanh, "__builtins__": {}})  # noqa: S307 (the test's own text)
    np.testing.assert_array_equal(np.broadcast_to(value, 2), np.broadcast_to(expected, 2))
