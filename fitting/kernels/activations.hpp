// tanh and the logistic function on SIMD registers, to the last digits (tests/fitting/test_kernels.py) and true to NaN:
// a fit that diverges must show it. sims/backends/vector_math.hpp trades both for speed.

template <class R> struct Constants;
template <> struct Constants<float> {
    using Int = int32_t;
    static constexpr int mantissa = 23, terms = 7;
    static constexpr float magic = 0x1.8p23f, ln2_high = 0x1.62e4p-1f, ln2_low = 0x1.7f7d1cp-20f;
    static constexpr float most_negative = -80;
};
template <> struct Constants<double> {
    using Int = int64_t;
    static constexpr int mantissa = 52, terms = 13;
    static constexpr double magic = 0x1.8p52, ln2_high = 0x1.62e42fefa0000p-1, ln2_low = 0x1.cf79abc9e3b3ap-40;
    static constexpr double most_negative = -700;
};

// exp(x) = power + power tail for x <= 0: Taylor's series around the nearest multiple of log 2 (Cody & Waite 1980).
template <class R> struct Exponential {
    using V = Register<R>;
    V power, tail;
    [[gnu::always_inline]] explicit Exponential(V x) {
        using C = Constants<R>;
        typedef typename C::Int I __attribute__((vector_size(sizeof(V))));
        x = x < C::most_negative ? V{} + C::most_negative : x;
        const V shifted = x * R(1.4426950408889634) + C::magic;  // rounds to a whole number, in the low bits
        const V whole = shifted - C::magic, rest = (x - whole * C::ln2_high) - whole * C::ln2_low;
        const I exponent = (I)shifted << C::mantissa;
        power = (V)(exponent + (I)(V{} + 1));
        R factorial = 1;
        for (int i = 2; i <= C::terms; i++) factorial *= i;
        V series = V{} + 1 / factorial;
#pragma GCC unroll 16
        for (int i = C::terms; i > 1; i--) {
            factorial /= i;
            series = series * rest + 1 / factorial;
        }
        tail = rest * series;
    }
};

// An estimate of 14 bits and Newton's steps, each of which doubles them: the divider takes longer.
template <class V> [[gnu::always_inline]] inline V reciprocal(V x) {
#if defined(__AVX512F__)
    if constexpr (std::is_same_v<V, Register<float>>) {
        V y = (V)_mm512_rcp14_ps((__m512)x);
        return y + y * (1 - x * y);
    } else {
        V y = (V)_mm512_rcp14_pd((__m512d)x);
        y += y * (1 - x * y);
        return y + y * (1 - x * y);
    }
#else
    return 1 / x;
#endif
}
template <class R> [[gnu::always_inline]] inline Register<R> tanh(Register<R> x) {
    const Exponential<R> e(-2 * (x < 0 ? -x : x));
    const Register<R> expm1 = (e.power - 1) + e.power * e.tail, t = expm1 * reciprocal(expm1 + 2);
    return x < 0 ? t : -t;
}
template <class R> [[gnu::always_inline]] inline Register<R> sigmoid(Register<R> x) {
    const Exponential<R> e(x < 0 ? x : -x);
    const Register<R> exp = e.power + e.power * e.tail, s = reciprocal(1 + exp);
    return x < 0 ? exp * s : s;
}
