// What arrives through the synapses, summed and low-pass filtered; fitting/kernels/synapses.py has the equations.

// A matrix [rows, n] that starts every row in a register of its own.
template <class R> struct Rows {
    using V = Register<R>;
    int64_t n;
    int across;
    std::vector<V> x;
    Rows(int64_t rows, int64_t n) : n(n), across(registers<R>(n)), x(rows * across) {}
    // Calls work(number, row, column) for all of them, in an order that suits a matrix stored either way.
    template <class Work> void each(Work work) {
        const int64_t rows = x.size() / across;
        for (int64_t first = 0; first < rows; first += 16)
            for (int64_t column = 0; column < n; column++)
                for (int64_t row = first; row < std::min(first + 16, rows); row++)
                    work(((R *)(*this)[row])[column], row, column);
    }
    V *operator[](int64_t row) { return x.data() + row * across; }
};

// Synapses in the order of their channels: those of channel c are entries start[c] to start[c + 1].
template <class R> struct Wiring {
    int64_t channels, synapses, branches;
    const int32_t *start, *synapse, *branch;
    const float *value;  // of an event, by channel
    const R *weight;     // by synapse
};

struct Raster {
    int64_t batch, blocks, time, windows;
    const uint16_t *channel;
    const int32_t *bounds;  // [batch, time + 1]
};
// The bounds of one step; none in the windows that fill up the last block.
struct Arrived {
    int32_t first = 0, end = 0;
    Arrived(const Raster &raster, int64_t window, int64_t t) {
        if (window >= raster.batch) return;
        const int32_t *bound = raster.bounds + window * (raster.time + 1) + t;
        first = bound[0], end = bound[1];
    }
};

// A pass over wide rows reads or writes a piece of each, which no processor foresees: ask for it so many rows ahead.
// The adjoint of 400 columns takes a third less time, that of 60 the same.
constexpr int64_t rows_ahead = 8;

// `columns` registers of every row from the register `first` on: their sums stay in registers for a whole step.
template <int columns, class R> void project(const Raster &raster, Rows<R> &table, R kappa, int first, R *y) {
    using V = Register<R>;
    std::vector<V> states(raster.windows * columns);
    for (int64_t block = 0; block < raster.blocks; block++) {
        std::fill(states.begin(), states.end(), V{});
        for (int64_t t = 0; t < raster.time; t++)
            for (int64_t w = 0; w < raster.windows; w++, y += table.n) {
                V *state = &states[w * columns], sum[columns];
                for (int c = 0; c < columns; c++) sum[c] = state[c] * kappa;
                for (int c = 0; c < columns; c++) Part<R>(table.n, first + c).fetch_to_write(y + rows_ahead * table.n);
                const Arrived arrived(raster, block * raster.windows + w, t);
                for (int32_t e = arrived.first; e < arrived.end; e++) {
                    const V *row = table[raster.channel[e]] + first;
                    for (int c = 0; c < columns; c++) sum[c] += row[c];
                }
                for (int c = 0; c < columns; c++) {
                    state[c] = sum[c];
                    Part<R>(table.n, first + c).store(y, sum[c]);
                }
            }
    }
}
template <int columns, class R>
void project_backward(const Raster &raster, Rows<R> &table, R kappa, int first, const R *grad) {
    using V = Register<R>;
    std::vector<V> states(raster.windows * columns);
    grad += raster.blocks * raster.time * raster.windows * table.n;
    for (int64_t block = raster.blocks - 1; block >= 0; block--) {
        std::fill(states.begin(), states.end(), V{});
        for (int64_t t = raster.time - 1; t >= 0; t--)
            for (int64_t w = raster.windows - 1; w >= 0; w--) {
                grad -= table.n;
                V *state = &states[w * columns], sum[columns];
                for (int c = 0; c < columns; c++) Part<R>(table.n, first + c).fetch(grad - rows_ahead * table.n);
                for (int c = 0; c < columns; c++)
                    state[c] = sum[c] = state[c] * kappa + Part<R>(table.n, first + c).load(grad);
                const Arrived arrived(raster, block * raster.windows + w, t);
                for (int32_t e = arrived.first; e < arrived.end; e++) {
                    V *row = table[raster.channel[e]] + first;
                    for (int c = 0; c < columns; c++) row[c] += sum[c];
                }
            }
    }
}

#define IN_COLUMNS(function, table, ...)                                   \
    for (int first = 0, columns; first < table.across; first += columns) { \
        columns = std::min(table.across - first, 4);                       \
        if (columns == 4) function<4>(raster, table, __VA_ARGS__);         \
        else if (columns == 3) function<3>(raster, table, __VA_ARGS__);    \
        else if (columns == 2) function<2>(raster, table, __VA_ARGS__);    \
        else function<1>(raster, table, __VA_ARGS__);                      \
    }

// size: batch, blocks, time, windows, channels, synapses, branches, n, the distance of mixing's rows.
// array: channel and bounds of events, value, start, synapse, branch, kappa, weight, mixing [n, branches], ...
inline Raster raster_of(const int64_t *size, void *const *array) {
    return {size[0], size[1], size[2], size[3], (const uint16_t *)array[0], (const int32_t *)array[1]};
}
template <class R> Wiring<R> wiring_of(const int64_t *size, void *const *array) {
    return {size[4], size[5], size[6], (const int32_t *)array[3], (const int32_t *)array[4], (const int32_t *)array[5],
            (const float *)array[2], (const R *)array[7]};
}

// ... y [block, time, window, n].
template <class R> void project(const int64_t *size, void *const *array) {
    const Raster raster = raster_of(size, array);
    const Wiring<R> wiring = wiring_of<R>(size, array);
    const R kappa = *(const R *)array[6];
    const R *matrix = (const R *)array[8];
    Rows<R> mixing(wiring.branches, size[7]), table(wiring.channels, size[7]);
    mixing.each([=](R &number, int64_t row, int64_t column) { number = matrix[column * size[8] + row]; });
    for (int64_t channel = 0; channel < wiring.channels; channel++) {
        Register<R> *row = table[channel];
        for (int32_t s = wiring.start[channel]; s < wiring.start[channel + 1]; s++) {
            const R weight = wiring.weight[wiring.synapse[s]] * R(wiring.value[channel]);
            const Register<R> *mixed = mixing[wiring.branch[s]];
            for (int c = 0; c < table.across; c++) row[c] += weight * mixed[c];
        }
    }
    IN_COLUMNS(project, table, kappa, first, (R *)array[9])
}
// ... gradient of y, gradient of the weights [synapses], of mixing [n, branches].
template <class R> void project_backward(const int64_t *size, void *const *array) {
    using V = Register<R>;
    const Raster raster = raster_of(size, array);
    const Wiring<R> wiring = wiring_of<R>(size, array);
    const R kappa = *(const R *)array[6];
    const R *matrix = (const R *)array[8];
    Rows<R> mixing(wiring.branches, size[7]), grad_mixing(wiring.branches, size[7]), table(wiring.channels, size[7]);
    mixing.each([=](R &number, int64_t row, int64_t column) { number = matrix[column * size[8] + row]; });
    IN_COLUMNS(project_backward, table, kappa, first, (const R *)array[9])
    R *grad_weight = (R *)array[10], *grad_matrix = (R *)array[11];
    std::fill(grad_weight, grad_weight + wiring.synapses, R(0));
    for (int64_t channel = 0; channel < wiring.channels; channel++) {
        const V *row = table[channel];
        for (int32_t s = wiring.start[channel]; s < wiring.start[channel + 1]; s++) {
            const R value = wiring.value[channel], weight = wiring.weight[wiring.synapse[s]] * value;
            const V *mixed = mixing[wiring.branch[s]];
            V *grad_mixed = grad_mixing[wiring.branch[s]], product{};
            for (int c = 0; c < table.across; c++) {
                product += row[c] * mixed[c];
                grad_mixed[c] += weight * row[c];
            }
            R sum = 0;
            for (int lane = 0; lane < lanes<R>; lane++) sum += product[lane];
            grad_weight[wiring.synapse[s]] = value * sum;
        }
    }
    const int64_t branches = wiring.branches;
    grad_mixing.each([=](R &number, int64_t row, int64_t column) { grad_matrix[column * branches + row] = number; });
}
EXPORT(project)
EXPORT(project_backward)

// size: batch, blocks, time, windows, channels, n.
// array: channel and bounds of events, value, table [channels, n], y [block, time, window, n].
template <class R> void gather(const int64_t *size, void *const *array) {
    const Raster raster = raster_of(size, array);
    const float *value = (const float *)array[2];
    const R *from = (const R *)array[3];
    Rows<R> table(size[4], size[5]);
    for (int64_t channel = 0; channel < size[4]; channel++, from += table.n)
        for (int c = 0; c < table.across; c++)
            table[channel][c] = Part<R>(table.n, c).load(from) * R(value[channel]);
    IN_COLUMNS(project, table, R(0), first, (R *)array[4])
}
// array: channel and bounds of events, value, gradient of y, gradient of the table.
template <class R> void gather_backward(const int64_t *size, void *const *array) {
    const Raster raster = raster_of(size, array);
    const float *value = (const float *)array[2];
    R *to = (R *)array[4];
    Rows<R> table(size[4], size[5]);
    IN_COLUMNS(project_backward, table, R(0), first, (const R *)array[3])
    for (int64_t channel = 0; channel < size[4]; channel++, to += table.n)
        for (int c = 0; c < table.across; c++)
            Part<R>(table.n, c).store(to, table[channel][c] * R(value[channel]));
}
EXPORT(gather)
EXPORT(gather_backward)

// size: blocks, time, numbers of a step, 1 for backward in time.  array: kappa, u, y, all [block, time, number].
template <class R> void low_pass(const int64_t *size, void *const *array) {
    const int64_t time = size[1], n = size[2], step = size[3] ? -n : n, first = size[3] ? (time - 1) * n : 0;
    const R kappa = *(const R *)array[0];
    for (int64_t block = 0; block < size[0] && time; block++) {
        const R *u = (const R *)array[1] + block * time * n + first;
        R *y = (R *)array[2] + block * time * n + first;
        std::copy(u, u + n, y);
        for (int64_t t = 1; t < time; t++) {
            const R *before = y;
            u += step, y += step;
            for (int64_t i = 0; i < n; i++) y[i] = kappa * before[i] + u[i];
        }
    }
}
EXPORT(low_pass)
