// tanh and the logistic function on SIMD registers, to the last digits (tests/fitting/test_kernels.py) and true to NaN:
// a fit that diverges must show it. sims/backends/vector_math.hpp trades both for speed.

// exp(x) = power + power tail for x <= 0: Taylor's series around the nearest multiple of log 2 (Cody & Waite 1980).
template <class R> struct Exponential {
    using V = Register<R>;
    V power, tail;
    [[gnu::always_inline]] explicit Exponential(V x) {
        using T = simd::Types<R>;
        using I = typename T::I;
        constexpr int terms = sizeof(R) == 4 ? 7 : 13;
        x = x < -T::largest_exponent ? V{} - T::largest_exponent : x;
        const V shifted = x * R(1.4426950408889634) + T::magic;  // rounds to a whole number, in the low bits
        const V whole = shifted - T::magic, rest = (x - whole * T::ln2_high) - whole * T::ln2_low;
        const I exponent = (I)shifted << T::mantissa;
        power = (V)(exponent + (I)(V{} + 1));
        R factorial = 1;
        for (int i = 2; i <= terms; i++) factorial *= i;
        V series = V{} + 1 / factorial;
#pragma GCC unroll 16
        for (int i = terms; i > 1; i--) {
            factorial /= i;
            series = series * rest + 1 / factorial;
        }
        tail = rest * series;
    }
};

template <class R> [[gnu::always_inline]] inline Register<R> tanh(Register<R> x) {
    const Exponential<R> e(-2 * (x < 0 ? -x : x));
    const Register<R> expm1 = (e.power - 1) + e.power * e.tail, t = expm1 * simd::reciprocal(expm1 + 2);
    return x < 0 ? t : -t;
}
template <class R> [[gnu::always_inline]] inline Register<R> sigmoid(Register<R> x) {
    const Exponential<R> e(x < 0 ? x : -x);
    const Register<R> exp = e.power + e.power * e.tail, s = simd::reciprocal(1 + exp);
    return x < 0 ? exp * s : s;
}
