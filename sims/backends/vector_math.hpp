// Elementwise mathematics on SIMD registers, written with GCC's vector extensions, so that one source serves AVX-512, AVX2
// and whatever else the compiler targets. Everything is inline: a call would spill all registers.
//
// Accuracy, measured in tests/sims/test_vector_math.py: log and reciprocal within 3 units in the last place, exp within 10 + |x|,
// expm1 and what is made of it within that and 40 more (float64). Arguments of exp beyond ±700 (float64) or ±80 (float32) are
// clamped, so that 1/(1 + exp(x)) saturates.
// Methods: Cody & Waite, Software Manual for the Elementary Functions, 1980; polynomials by Chebyshev interpolation.
#pragma once
#include <cmath>
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <utility>
#ifdef __SSE2__
#include <immintrin.h>
#endif

#if defined(__AVX512F__)
#define SIMD_BYTES 64
#elif defined(__AVX2__)
#define SIMD_BYTES 32
#else
#define SIMD_BYTES 16
#endif

#define SIMD_INLINE inline __attribute__((always_inline))

namespace simd {

template <class R> struct Types;
template <> struct Types<float> {
    typedef float V __attribute__((vector_size(SIMD_BYTES)));
    typedef int32_t I __attribute__((vector_size(SIMD_BYTES)));
    static constexpr int mantissa = 23;
    static constexpr int log2_parts = 0, parts = 1;
    static I add_part(I exponent, I) { return exponent; }
    static constexpr float magic = 0x1.8p23f, largest_exponent = 80.0f;
    static constexpr float ln2_high = 0x1.62e4p-1f, ln2_low = 0x1.7f7d1cp-20f;
    static constexpr float expm1_over_x[] = {1.0f, 0.5000000013f, 0.1666650526f, 0.04166646501f, 0.008369148491f, 0.001393364103f};
    static constexpr float log_tail[] = {0.6666666655f, 0.4000012184f, 0.2855082082f, 0.2333046722f};
};
template <> struct Types<double> {
    typedef double V __attribute__((vector_size(SIMD_BYTES)));
    typedef int64_t I __attribute__((vector_size(SIMD_BYTES)));
    static constexpr int mantissa = 52;
    static constexpr double magic = 0x1.8p52, largest_exponent = 700.0;
    static constexpr double ln2_high = 0x1.62e42fefa0000p-1, ln2_low = 0x1.cf79abc9e3b3ap-40;
#ifdef __AVX512F__
    // 2^(j/16), of which one permutation fetches one for each lane, so that the polynomial can be short.
    static constexpr int log2_parts = 4, parts = 16;
    alignas(64) static constexpr double powers[] = {
        0x1.0000000000000p+0, 0x1.0b5586cf9890fp+0, 0x1.172b83c7d517bp+0, 0x1.2387a6e756238p+0, 0x1.306fe0a31b715p+0, 0x1.3dea64c123422p+0,
        0x1.4bfdad5362a27p+0, 0x1.5ab07dd485429p+0, 0x1.6a09e667f3bcdp+0, 0x1.7a11473eb0187p+0, 0x1.8ace5422aa0dbp+0, 0x1.9c49182a3f090p+0,
        0x1.ae89f995ad3adp+0, 0x1.c199bdd85529cp+0, 0x1.d5818dcfba487p+0, 0x1.ea4afa2a490dap+0};
    static SIMD_INLINE I add_part(I exponent, I part) {
        const I of_part = (I)_mm512_permutex2var_pd(_mm512_load_pd(powers), (__m512i)part, _mm512_load_pd(powers + 8));
        return (exponent & (int64_t(-1) << mantissa)) + of_part;
    }
    static constexpr double expm1_over_x[] = {0x1.0000000000003p+0, 0x1.0000000000001p-1, 0x1.555555547d378p-3,
                                              0x1.55555554e9468p-5, 0x1.11123cf1dba3ap-7, 0x1.6c17ed4cc4834p-10};
#else
    static constexpr int log2_parts = 0, parts = 1;
    static I add_part(I exponent, I) { return exponent; }
    static constexpr double expm1_over_x[] = {
        1.0, 0x1.0000000000005p-1, 0x1.5555555555557p-3, 0x1.55555555520afp-5, 0x1.11111111100dfp-7, 0x1.6c16c17f43a58p-10,
        0x1.a01a01abe62ddp-13, 0x1.a019a66a75dd4p-16, 0x1.71de02375656cp-19, 0x1.28a2c0a7209fbp-22, 0x1.af4ddd84882fep-26};
#endif
    static constexpr double log_tail[] = {
        0x1.5555555555555p-1, 0x1.9999999999a38p-2, 0x1.2492492476cccp-2, 0x1.c71c720159177p-3,
        0x1.745cf9048dd93p-3, 0x1.3b1c355a8f7f5p-3, 0x1.0fbe95d7158cbp-3, 0x1.0c039c499cc37p-3};
};

template <class V> using Scalar = std::remove_reference_t<decltype(std::declval<V &>()[0])>;
template <class V> using Int = typename Types<Scalar<V>>::I;
template <class V> constexpr int lanes = sizeof(V) / sizeof(Scalar<V>);

template <class To, class From> SIMD_INLINE To bits(From x) {
    To y;
    std::memcpy(&y, &x, sizeof y);
    return y;
}
template <class V> SIMD_INLINE V broadcast(Scalar<V> x) { return V{} + x; }
// The smaller and the larger of two; GCC makes two instructions of the plain form.
#if defined(__AVX512F__)
#define SIMD_EXTREME(name, which, is)                                                                 \
    template <class V> SIMD_INLINE V name(V a, V b) {                                                 \
        if constexpr (sizeof(Scalar<V>) == 4) return (V)_mm512_##which##_ps((__m512)a, (__m512)b);    \
        else return (V)_mm512_##which##_pd((__m512d)a, (__m512d)b);                                   \
    }
#elif defined(__AVX2__)
#define SIMD_EXTREME(name, which, is)                                                                 \
    template <class V> SIMD_INLINE V name(V a, V b) {                                                 \
        if constexpr (sizeof(Scalar<V>) == 4) return (V)_mm256_##which##_ps((__m256)a, (__m256)b);    \
        else return (V)_mm256_##which##_pd((__m256d)a, (__m256d)b);                                   \
    }
#else
#define SIMD_EXTREME(name, which, is) \
    template <class V> SIMD_INLINE V name(V a, V b) { return a is b ? a : b; }
#endif
SIMD_EXTREME(lower, min, <)
SIMD_EXTREME(higher, max, >)
#undef SIMD_EXTREME
template <class V> SIMD_INLINE V clip(V x, V low, V high) { return higher(lower(x, high), low); }
// 1 where a comparison holds, else 0.
template <class V> SIMD_INLINE V indicator(Int<V> holds) { return holds ? broadcast<V>(1) : V{}; }

// Σ coefficient[i] x^i by Horner's rule.
template <class V, std::size_t M> SIMD_INLINE V polynomial(V x, const Scalar<V> (&coefficient)[M]) {
    V sum = broadcast<V>(coefficient[M - 1]);
#pragma GCC unroll 16
    for (int i = int(M) - 2; i >= 0; i--) sum = sum * x + coefficient[i];
    return sum;
}

template <class V> SIMD_INLINE V reciprocal(V x) {
#ifdef __AVX512F__
    // The divider answers every 10 or 16 cycles; an estimate of 14 bits and Newton's steps, each of which doubles them, every 5.
    if constexpr (sizeof(Scalar<V>) == 4) {
        const V y = (V)_mm512_rcp14_ps((__m512)x);
        return y + y * (1 - x * y);
    } else {
        V y = (V)_mm512_rcp14_pd((__m512d)x);
        y = y + y * (1 - x * y);
        return y + y * (1 - x * y);
    }
#else
    return 1 / x;
#endif
}

// The exponentials of N arguments in each of SIZE places: exp(x) = power (1 + tail), |x - log(power)| <= log(2)/2.
template <class V, int N, int SIZE> struct Exponentials {
    V x[N][SIZE], power[N][SIZE], tail[N][SIZE];
    // All places, used or not: one long loop never waits for the last results of a short one.
    SIMD_INLINE void evaluate() {
        V *const x = this->x[0], *const power = this->power[0], *const tail = this->tail[0];
#pragma GCC unroll 1
        for (int i = 0; i < N * SIZE; i++) evaluate(x[i], power[i], tail[i]);
    }
    static SIMD_INLINE void evaluate(V &x, V &power, V &tail) {
        using T = Types<Scalar<V>>;
        x = clip(x, broadcast<V>(-T::largest_exponent), broadcast<V>(T::largest_exponent));
        // Adding the magic number rounds to a whole number and leaves it in the low bits.
        const V shifted = x * (T::parts * Scalar<V>(1.4426950408889634)) + T::magic;
        const V whole = shifted - T::magic;
        // One product: it loses no more than the rounding of the argument has.
        const V rest = x - whole * Scalar<V>(0.69314718055994531 / T::parts);
        const Int<V> exponent = bits<Int<V>>(shifted) << (T::mantissa - T::log2_parts);
        power = bits<V>(T::parts == 1 ? exponent + bits<Int<V>>(broadcast<V>(1)) : T::add_part(exponent, bits<Int<V>>(shifted)));
        tail = rest * polynomial<V>(rest, T::expm1_over_x);
    }
    // Forms of exp(x) and, where a file asks for both, of exp(-x).
    SIMD_INLINE V exp(int i, int n) const { return power[i][n] + power[i][n] * tail[i][n]; }
    SIMD_INLINE V expm1(int i, int n) const { return (power[i][n] - 1) + power[i][n] * tail[i][n]; }
    SIMD_INLINE V exprel(int i, int n) const { return x[i][n] == 0 ? broadcast<V>(1) : expm1(i, n) * reciprocal(x[i][n]); }
    // x/(exp(x) - 1), 1 at x = 0: the voltage dependence of many rates.
    SIMD_INLINE V x_over_expm1(int i, int n) const {
        const V e = expm1(i, n);
        return e == 0 ? broadcast<V>(1) : x[i][n] * reciprocal(e);
    }
    SIMD_INLINE V exp_of_negative(int i, int n) const { return reciprocal(exp(i, n)); }
    SIMD_INLINE V expm1_of_negative(int i, int n) const { return -expm1(i, n) * reciprocal(exp(i, n)); }
    SIMD_INLINE V exprel_of_negative(int i, int n) const { return exprel(i, n) * reciprocal(exp(i, n)); }
    SIMD_INLINE V x_over_expm1_of_negative(int i, int n) const { return x_over_expm1(i, n) * exp(i, n); }
};
template <class V> SIMD_INLINE Exponentials<V, 1, 1> exponential(V x) {
    Exponentials<V, 1, 1> e;
    e.x[0][0] = x;
    e.evaluate();
    return e;
}
template <class V> SIMD_INLINE V exp(V x) { return exponential(x).exp(0, 0); }
template <class V> SIMD_INLINE V expm1(V x) { return exponential(x).expm1(0, 0); }
// The logarithm of a positive, normal number.
template <class V> SIMD_INLINE V log(V x) {
    using T = Types<Scalar<V>>;
    Int<V> above = bits<Int<V>>(x) - bits<Int<V>>(broadcast<V>(Scalar<V>(0.70710678118654752)));
    Int<V> power = above >> T::mantissa;
    V m = bits<V>(bits<Int<V>>(x) - (power << T::mantissa));
    V whole = bits<V>(power + bits<Int<V>>(broadcast<V>(T::magic))) - T::magic;
    V s = (m - 1) * reciprocal(m + 1), z = s * s;
    V tail = s * z * polynomial<V>(z, T::log_tail);
    return whole * T::ln2_high + (2 * s + (tail + whole * T::ln2_low));
}
template <int N, class V> SIMD_INLINE V power(V x) {
    if constexpr (N == 1) return x;
    else {
        V half = power<N / 2>(x);
        if constexpr (N % 2) return half * half * x;
        else return half * half;
    }
}
template <class V> SIMD_INLINE V absolute(V x) { return x < 0 ? -x : x; }
template <class V> SIMD_INLINE V sign(V x) { return indicator<V>(x > 0) - indicator<V>(x < 0); }
template <class V> SIMD_INLINE V tanh(V x) {
    V e = expm1<V>(-2 * absolute(x));
    V t = -e * reciprocal(e + 2);
    return x < 0 ? -t : t;
}

// Whatever has no vector form above, lane by lane.
#define SIMD_LANE_BY_LANE(name, function)                                \
    template <class V> inline V name(V x) {                                  \
        for (int lane = 0; lane < lanes<V>; lane++) x[lane] = function(x[lane]); \
        return x;                                                        \
    }
SIMD_LANE_BY_LANE(sqrt, std::sqrt)
SIMD_LANE_BY_LANE(floor, std::floor)
SIMD_LANE_BY_LANE(ceil, std::ceil)
SIMD_LANE_BY_LANE(log10, std::log10)
SIMD_LANE_BY_LANE(log1p, std::log1p)
SIMD_LANE_BY_LANE(sin, std::sin)
SIMD_LANE_BY_LANE(cos, std::cos)
SIMD_LANE_BY_LANE(tan, std::tan)
SIMD_LANE_BY_LANE(arcsin, std::asin)
SIMD_LANE_BY_LANE(arccos, std::acos)
SIMD_LANE_BY_LANE(arctan, std::atan)
SIMD_LANE_BY_LANE(sinh, std::sinh)
SIMD_LANE_BY_LANE(cosh, std::cosh)
#undef SIMD_LANE_BY_LANE

// While it lives, numbers too small for a normal float count as zero: decaying states get there, and each would cost
// a hundred times what a normal one does.
struct FlushDenormals {
#ifdef __SSE2__
    const unsigned before = _mm_getcsr();
    FlushDenormals() { _mm_setcsr(before | 0x8040); }
    ~FlushDenormals() { _mm_setcsr(before); }
#endif
};

// One entry for each lane of a table of 32 numbers; index: 0..31.
template <class V> SIMD_INLINE V lookup(const Scalar<V> *table, Int<V> index) {
#ifdef __AVX512F__
    if constexpr (sizeof(Scalar<V>) == 4)
        return (V)_mm512_permutex2var_ps(_mm512_load_ps(table), (__m512i)index, _mm512_load_ps(table + 16));
#endif
    V found;
    for (int lane = 0; lane < lanes<V>; lane++) found[lane] = table[index[lane]];
    return found;
}

}  // namespace simd
