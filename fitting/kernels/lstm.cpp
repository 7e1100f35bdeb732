// The recurrence of an LSTM and its adjoint; fitting/kernels/lstm.py has the equations.
//
// In products the four gates of a window lie side by side, so that they are one product; in all else the windows of a
// gate do, so that few registers are part empty (50 units of 8 windows: 25 registers full instead of 32).

template <class R> struct Gates {
    const int64_t windows, n;
    Numbers<R> rows;               // [window, gate, unit]
    std::vector<Numbers<R>> gate;  // of each [window, unit]
    Gates(int64_t windows, int64_t n)
        : windows(windows), n(n), rows(windows * 4 * n), gate(4, Numbers<R>(windows * n)) {}
    void from_rows() {
        each([](R *row, R *gate, const Part<R> &part) { part.store(gate, part.load(row)); });
    }
    void to_rows() {
        each([](R *row, R *gate, const Part<R> &part) { part.store(row, part.load(gate)); });
    }
    template <class Work> void each(Work work) {
        for (int i = 0; i < registers<R>(n); i++) {
            const Part<R> part(n, i);
            for (int64_t w = 0; w < windows; w++)
                for (int64_t k = 0; k < 4; k++) work(rows.data() + (4 * w + k) * n, gate[k].data() + w * n, part);
        }
    }
};

// size: blocks, time, windows, n.
// array: W [n, 4 n], drive [block, time, window, 4 n], b [4 n], then what is left for the adjoint, or nothing where no
// gradient is wanted: gates, as they come out of their functions [block, time, gate, window, n], and cell [block, time,
// window, n]; h, of the shape of cell.
template <class R> void recur(const int64_t *size, void *const *array) {
    using V = Register<R>;
    const int64_t time = size[1], windows = size[2], n = size[3], units = windows * n;
    const R *matrix = (const R *)array[0], *drive = (const R *)array[1], *bias = (const R *)array[2];
    R *gates = (R *)array[3], *cells = (R *)array[4], *h = (R *)array[5];
    const Weights<R> weight(n, 4 * n, [=](int64_t i, int64_t j) { return matrix[i * 4 * n + j]; });
    Gates<R> sums(windows, n);
    Numbers<R> biases(4 * units), hidden(units), cell(units);
    for (int64_t i = 0; i < 4 * units; i++) biases.data()[i] = bias[i % (4 * n)];
    for (int64_t row = 0; row < size[0] * time; row++, drive += 4 * units, h += units) {
        if (row % time == 0) {
            std::fill(hidden.x.begin(), hidden.x.end(), V{});
            std::fill(cell.x.begin(), cell.x.end(), V{});
        }
        for (int i = 0; i < biases.across(); i++) sums.rows[i] = biases[i] + Part<R>(4 * units, i).load(drive);
        multiply(windows, hidden, weight, sums.rows);
        sums.from_rows();
        for (int i = 0; i < cell.across(); i++) {
            const Part<R> part(units, i);
            const V in = sigmoid<R>(sums.gate[0][i]), forget = sigmoid<R>(sums.gate[1][i]);
            const V candidate = tanh<R>(sums.gate[2][i]), out = sigmoid<R>(sums.gate[3][i]);
            cell[i] = forget * cell[i] + in * candidate;
            hidden[i] = out * tanh<R>(cell[i]);
            part.store(h, hidden[i]);
            if (!gates) continue;
            R *gate = gates + row * 4 * units;
            for (V value : {in, forget, candidate, out}) part.store(gate, value), gate += units;
            part.store(cells + row * units, cell[i]);
        }
    }
}

// array: W, gates, cell, gradient of h, then of drive and of b, all as above.
// Goes down in memory too, from the last step's last register to the first's first: what fetches ahead can follow.
template <class R> void recur_backward(const int64_t *size, void *const *array) {
    using V = Register<R>;
    const int64_t time = size[1], windows = size[2], n = size[3], units = windows * n;
    const R *matrix = (const R *)array[0], *gates = (const R *)array[1], *cells = (const R *)array[2];
    const R *grad = (const R *)array[3];
    R *grad_drive = (R *)array[4], *grad_bias = (R *)array[5];
    const Weights<R> weight(4 * n, n, [=](int64_t i, int64_t j) { return matrix[j * 4 * n + i]; });
    Gates<R> grads(windows, n);
    Numbers<R> biases(4 * units), dh(units), dc(units);
    for (int64_t row = size[0] * time - 1; row >= 0; row--) {
        if (row % time == time - 1) {
            std::fill(dh.x.begin(), dh.x.end(), V{});
            std::fill(dc.x.begin(), dc.x.end(), V{});
        }
        const R *gate = gates + row * 4 * units, *cell = cells + row * units, *dh_t = grad + row * units;
        for (int i = dc.across() - 1; i >= 0; i--) {
            const Part<R> part(units, i);
            for (int k = 0; k < 4; k++) part.fetch(gate + (k - 4) * units);
            part.fetch(cell - 2 * units), part.fetch(dh_t - units);
            const V in = part.load(gate), forget = part.load(gate + units), candidate = part.load(gate + 2 * units);
            const V out = part.load(gate + 3 * units), squashed = tanh<R>(part.load(cell));
            const V before = row % time ? part.load(cell - units) : V{};
            const V of_h = dh[i] + part.load(dh_t), of_c = dc[i] + of_h * out * (1 - squashed * squashed);
            grads.gate[0][i] = of_c * candidate * in * (1 - in);
            grads.gate[1][i] = of_c * before * forget * (1 - forget);
            grads.gate[2][i] = of_c * in * (1 - candidate * candidate);
            grads.gate[3][i] = of_h * squashed * out * (1 - out);
            dc[i] = of_c * forget;
        }
        grads.to_rows();
        R *rows = grad_drive + row * 4 * units;
        for (int i = biases.across() - 1; i >= 0; i--) {
            const Part<R> part(4 * units, i);
            part.fetch_to_write(rows - 4 * units);
            biases[i] += grads.rows[i];
            part.store(rows, grads.rows[i]);
        }
        std::fill(dh.x.begin(), dh.x.end(), V{});
        multiply(windows, grads.rows, weight, dh);
    }
    std::fill(grad_bias, grad_bias + 4 * n, R(0));
    for (int64_t i = 0; i < 4 * units; i++) grad_bias[i % (4 * n)] += biases.data()[i];
}
EXPORT(recur)
EXPORT(recur_backward)
