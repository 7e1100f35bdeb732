// Products of a few rows with a small matrix: the sums, of up to eight rows and three registers of columns, stay in
// registers from the first term to the last.

constexpr int panel = 3;
#if defined(__AVX512F__)
constexpr int most_rows = 8;  // times three: the sums fill 24 of 32 registers
#else
constexpr int most_rows = 4;
#endif

// A matrix [in, out] in panels of three registers of columns; where one would be left over, the last four are two of two,
// as the sums of a single one are too few to keep the processor busy.
template <class R> struct Weights {
    int64_t in, out;
    std::vector<Register<R>> x;
    template <class Entry> Weights(int64_t in, int64_t out, Entry entry) : in(in), out(out), x(in * registers<R>(out)) {
        for (int64_t j = 0; j < out; j++) {
            const int first = begin(j / lanes<R>);
            R *column = (R *)(x.data() + first * in) + j - first * lanes<R>;
            for (int64_t i = 0; i < in; i++) column[i * columns(first) * lanes<R>] = entry(i, j);
        }
    }
    int threes() const { return registers<R>(out) % panel == 1 ? std::max(0, registers<R>(out) - 4) : registers<R>(out); }
    // The first register of the panel that a register is in, and how many that panel has.
    int begin(int i) const { return i < threes() ? i / panel * panel : threes() + (i - threes()) / 2 * 2; }
    int columns(int first) const { return std::min(registers<R>(out) - first, first < threes() ? panel : 2); }
};

// y += x w in one panel.  x: [rows, in].  y: [rows, out].
template <int rows, int columns, class R>
[[gnu::noinline]] void multiply(const R *x, const Weights<R> &w, R *y, int first) {
    using V = Register<R>;
    V sum[rows][columns], factor[columns];
    const int64_t in = w.in, out = w.out;
    const V *weight = w.x.data() + first * in;
#pragma GCC unroll 8
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 4
        for (int c = 0; c < columns; c++) sum[r][c] = Part<R>(out, first + c).load(y + r * out);
    for (int64_t k = 0; k < in; k++, weight += columns) {
#pragma GCC unroll 4
        for (int c = 0; c < columns; c++) factor[c] = weight[c];
#pragma GCC unroll 8
        for (int r = 0; r < rows; r++) {
            V same = simd::broadcast<V>(x[r * in + k]);
#pragma GCC unroll 4
            for (int c = 0; c < columns; c++) sum[r][c] += same * factor[c];
            // Else GCC loads all of `same` first, and has no registers left for the sums.
            asm volatile("" ::: "memory");
        }
    }
#pragma GCC unroll 8
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 4
        for (int c = 0; c < columns; c++) Part<R>(out, first + c).store(y + r * out, sum[r][c]);
}
template <int rows, class R> void multiply(const R *x, const Weights<R> &w, R *y, int first) {
    if (w.columns(first) == 3) multiply<rows, 3>(x, w, y, first);
    else if (w.columns(first) == 2) multiply<rows, 2>(x, w, y, first);
    else multiply<rows, 1>(x, w, y, first);
}
// All rows go through a panel before the next one comes: it stays in L1.
template <class R> void multiply(int64_t all, const Numbers<R> &from, const Weights<R> &w, Numbers<R> &to) {
    for (int first = 0; first < registers<R>(w.out); first += w.columns(first)) {
        const R *x = from.data();
        R *y = to.data();
        int64_t rows = all;
        for (int some = most_rows; rows > 0; rows -= some, x += some * w.in, y += some * w.out) {
            while (some > rows) some /= 2;
            if (some == 8) multiply<8>(x, w, y, first);
            else if (some == 4) multiply<4>(x, w, y, first);
            else if (some == 2) multiply<2>(x, w, y, first);
            else multiply<1>(x, w, y, first);
        }
    }
}
