"""The cable solver's elementary functions on SIMD registers, against NumPy in twice the precision."""

import ctypes

import numpy as np
import pytest

from sims.backends import compiled

SOURCE = """
#include "vector_math.hpp"
using namespace simd;
#define ARRAY(name, R)                                                            \\
    extern "C" void name##_##R(R *x, int count) {                                 \\
        using V = Types<R>::V;                                                    \\
        for (int i = 0; i < count; i += lanes<V>) {                               \\
            V v;                                                                  \\
            std::memcpy(&v, x + i, sizeof v);                                     \\
            v = name(v);                                                          \\
            std::memcpy(x + i, &v, sizeof v);                                     \\
        }                                                                         \\
    }
template <class V> V bernoulli(V x) { return exponential(x).x_over_expm1(0, 0); }
template <class V> V bernoulli_of_negative(V x) { return exponential(x).x_over_expm1_of_negative(0, 0); }
template <class V> V exprelative(V x) { return exponential(x).exprel(0, 0); }
template <class V> V fifth_power(V x) { return power<5>(x); }
#define BOTH(name) ARRAY(name, double) ARRAY(name, float)
BOTH(exp) BOTH(expm1) BOTH(log) BOTH(reciprocal) BOTH(tanh) BOTH(bernoulli) BOTH(bernoulli_of_negative)
BOTH(exprelative) BOTH(fifth_power) BOTH(sqrt) BOTH(sign) BOTH(floor)
"""
WIDE = np.concatenate([np.linspace(-80, 80, 4000), np.geomspace(1e-9, 1, 520), -np.geomspace(1e-9, 1, 520)])
POSITIVE = np.geomspace(1e-20, 1e20, 5120)
# name: (arguments, truth in long double, tolerance in units of the last place, of float64 and float32 if they differ)
FUNCTIONS = {
    "exp": (WIDE, np.exp, 10),
    "expm1": (WIDE, np.expm1, (40, 8)),
    "log": (POSITIVE, np.log, 3),
    "reciprocal": (POSITIVE, lambda x: 1 / x, 2),
    "tanh": (WIDE, np.tanh, (60, 8)),
    "bernoulli": (WIDE, lambda x: x / np.expm1(x), (40, 8)),
    "bernoulli_of_negative": (WIDE, lambda x: -x / np.expm1(-x), (40, 8)),
    "exprelative": (WIDE, lambda x: np.expm1(x) / x, (40, 8)),
    "fifth_power": (np.linspace(-3, 3, 640), lambda x: x**5, 4),
    "sqrt": (POSITIVE, np.sqrt, 1),
    "sign": (np.linspace(-3, 3, 641)[:640], np.sign, 0),
    "floor": (np.linspace(-3.05, 3, 640), np.floor, 0),
}


@pytest.fixture(scope="module", params=list(compiled.SIMD))
def functions(request):
    if list(compiled.SIMD).index(request.param) < list(compiled.SIMD).index(compiled.widest_simd()):
        pytest.skip(f"this machine has no {request.param}")
    return compiled.library("vector_math", SOURCE, "test", request.param)


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("precision", ["double", "float"])
def test_an_elementary_function_is_right_to_a_few_units_in_the_last_place(functions, name, precision):
    arguments, truth, units = FUNCTIONS[name]
    units = units[precision == "float"] if isinstance(units, tuple) else units
    x = arguments.astype({"double": np.float64, "float": np.float32}[precision])
    found = x.copy()
    getattr(functions, f"{name}_{precision}")(ctypes.c_void_p(found.ctypes.data), ctypes.c_int(len(x)))
    expected = truth(x.astype(np.longdouble))
    error = np.abs(found - expected) / np.spacing(np.abs(expected).astype(x.dtype))
    if arguments is WIDE:  # an exponential cannot know its argument better than to half a unit in the last place
        error -= np.abs(x)
    assert error.max() <= units, (x[error.argmax()], found[error.argmax()], expected[error.argmax()])


@pytest.mark.parametrize("precision", ["double", "float"])
def test_rates_are_finite_where_their_exponentials_are_not(functions, precision):
    x = np.array([0, 1e5, -1e5, 1e30, -1e30, 0, 0, 0] * 8, {"double": np.float64, "float": np.float32}[precision])
    for name in ("exp", "bernoulli", "bernoulli_of_negative", "exprelative"):
        found = x.copy()
        getattr(functions, f"{name}_{precision}")(ctypes.c_void_p(found.ctypes.data), ctypes.c_int(len(x)))
        assert np.isfinite(found).all() and found[0] == 1
