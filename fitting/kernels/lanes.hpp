// Numbers in SIMD registers.
#include <algorithm>
#include <cstdint>
#include <vector>

#include "vector_math.hpp"

template <class R> using Register = typename simd::Types<R>::V;
template <class R> constexpr int lanes = simd::lanes<Register<R>>;
template <class R> int registers(int64_t numbers) { return (numbers + lanes<R> - 1) / lanes<R>; }

// Register i of an array; where the array ends before the register does, its last lanes are 0 and never written.
template <class R> struct Part {
    using V = Register<R>;
    const int64_t begin;
    const int count;
    Part(int64_t numbers, int i) : begin(i * lanes<R>), count(std::min<int64_t>(numbers - begin, lanes<R>)) {}
#if defined(__AVX512F__)
    V load(const float *from) const { return (V)_mm512_maskz_loadu_ps(mask(), from + begin); }
    V load(const double *from) const { return (V)_mm512_maskz_loadu_pd(mask(), from + begin); }
    void store(float *to, V x) const { _mm512_mask_storeu_ps(to + begin, mask(), (__m512)x); }
    void store(double *to, V x) const { _mm512_mask_storeu_pd(to + begin, mask(), (__m512d)x); }
    unsigned mask() const { return (1u << count) - 1; }
#else
    V load(const R *from) const {
        V x{};
        if (count == lanes<R>) std::memcpy(&x, from + begin, sizeof x);
        else for (int lane = 0; lane < count; lane++) x[lane] = from[begin + lane];
        return x;
    }
    void store(R *to, V x) const {
        if (count == lanes<R>) std::memcpy(to + begin, &x, sizeof x);
        else for (int lane = 0; lane < count; lane++) to[begin + lane] = x[lane];
    }
#endif
    // Ask for what will be loaded or stored soon. Stores wait for their cache lines one after the other, and nothing
    // but this fetches the lines of an array that is written backward: without it adjoints take half as long again.
    void fetch(const R *from) const { __builtin_prefetch(from + begin); }
    void fetch_to_write(R *to) const { __builtin_prefetch(to + begin, 1); }
};

// n numbers in registers of their own.
template <class R> struct Numbers {
    int64_t n;
    std::vector<Register<R>> x;
    explicit Numbers(int64_t n) : n(n), x(registers<R>(n)) {}
    int across() const { return registers<R>(n); }
    Register<R> &operator[](int i) { return x[i]; }
    const Register<R> &operator[](int i) const { return x[i]; }
    R *data() { return (R *)x.data(); }
    const R *data() const { return (const R *)x.data(); }
};

#define EXPORT(name)                                                          \
    extern "C" void name##_float32(const int64_t *size, void *const *array) { \
        simd::FlushDenormals flush;                                           \
        name<float>(size, array);                                             \
    }                                                                         \
    extern "C" void name##_float64(const int64_t *size, void *const *array) { \
        simd::FlushDenormals flush;                                           \
        name<double>(size, array);                                            \
    }
