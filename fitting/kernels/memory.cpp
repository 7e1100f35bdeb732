// The memory's recurrence and its adjoint; fitting/kernels/memory.py has the equations.
//
// The windows of a block go through all of time together, with their states in L1. The numbers of one step lie window
// after window, so that all but the matrix products runs over them as over one row.

constexpr double tanh_slope = 2.0 / 3.0;

template <class R> struct Network {
    int64_t batch, blocks, time, windows, d_m, d_mlp, depth, d_out;
    bool silu;
    Numbers<R> kappa, gain;                     // for all windows
    std::vector<Weights<R>> forward, backward;  // of each layer; the last is the readout
    std::vector<Numbers<R>> bias;

    // array: kappa, gain, then W [out, in] and bias of each layer.
    Network(const int64_t *size, void *const *array)
        : batch(size[0]), blocks(size[1]), time(size[2]), windows(size[3]), d_m(size[4]), d_mlp(size[5]),
          depth(size[6]), d_out(size[7]), silu(size[8]), kappa(repeat(array[0], d_m)), gain(repeat(array[1], d_m)) {
        for (int64_t layer = 0; layer <= depth + 1; layer++) {
            const R *w = (const R *)array[2 + 2 * layer];
            const int64_t in = layer == 0 || layer > depth ? d_m : d_mlp, out = outputs(layer);
            forward.emplace_back(in, out, [=](int64_t i, int64_t j) { return w[j * in + i]; });
            backward.emplace_back(out, in, [=](int64_t i, int64_t j) { return w[i * in + j]; });
            bias.push_back(repeat(array[3 + 2 * layer], out));
        }
    }
    int64_t outputs(int64_t layer) const { return layer < depth ? d_mlp : layer == depth ? d_m : d_out; }
    // Calls work(place of one step's outputs in [batch, time, d_out], place in those of the block) for each window.
    template <class Work> void each_window(int64_t block, int64_t t, Work work) const {
        const int64_t first = block * windows, here = std::min(windows, batch - first);
        for (int64_t w = 0; w < here; w++) work(((first + w) * time + t) * d_out, w * d_out);
    }
    // The same row for each window, and the sum over windows.
    Numbers<R> repeat(void *row, int64_t n) const {
        Numbers<R> all(windows * n);
        for (int64_t i = 0; i < all.n; i++) all.data()[i] = ((const R *)row)[i % n];
        return all;
    }
    void add(const Numbers<R> &all, R *row, int64_t n) const {
        for (int64_t i = 0; i < all.n; i++) row[i % n] += all.data()[i];
    }
};

// Memories before the first step and after the last, [block, window, d_m]; none is zero, or not asked for.
template <class R> struct Ends {
    const R *start;
    R *last;
    explicit Ends(void *const *array) : start((const R *)array[0]), last((R *)array[1]) {}
};

// What a forward pass leaves behind: slope only for SiLU, and nothing where no gradient is wanted.
template <class R> struct Trace {
    R *hidden, *slope, *update, *memory;
    explicit Trace(void *const *array)
        : hidden((R *)array[0]), slope((R *)array[1]), update((R *)array[2]), memory((R *)array[3]) {}
};
template <class R> R *at(R *array, int64_t place) { return array ? array + place : nullptr; }

template <class R>
void remember(const Network<R> &net, const Trace<R> &trace, const Ends<R> &ends, const R *drive, R *output,
              int64_t block) {
    using V = Register<R>;
    const int64_t units = net.windows * net.d_m, n = net.windows * net.d_mlp, steps = net.blocks * net.time;
    Numbers<R> memory(units), kept(units), u(units), x(n), h(n), y(net.windows * net.d_out);
    for (int i = 0; ends.start && i < memory.across(); i++)
        kept[i] = net.kappa[i] * Part<R>(units, i).load(ends.start + block * units);
    for (int64_t t = 0; t < net.time; t++) {
        const int64_t row = block * net.time + t;
        for (int64_t layer = 0; layer <= net.depth; layer++) {
            Numbers<R> &sum = layer < net.depth ? h : u;
            for (int i = 0; i < sum.across(); i++) {
                sum[i] = net.bias[layer][i];
                if (!layer) sum[i] += Part<R>(sum.n, i).load(drive + row * sum.n);
            }
            multiply(net.windows, layer ? x : kept, net.forward[layer], sum);
            if (layer == net.depth) break;
            const int64_t place = (layer * steps + row) * n;
            R *hidden = at(trace.hidden, place), *slope = at(trace.slope, place);
            for (int i = 0; i < h.across(); i++) {
                V value = h[i];
                if (net.silu) {
                    const V s = sigmoid<R>(value);
                    value *= s;
                    if (slope) Part<R>(n, i).store(slope, s + value * (1 - s));
                } else value = value < 0 ? V{} : value;
                x[i] = value;
                if (hidden) Part<R>(n, i).store(hidden, value);
            }
        }
        R *updates = at(trace.update, row * units), *memories = at(trace.memory, row * units);
        for (int i = 0; i < u.across(); i++) {
            const V update = tanh<R>(u[i] * R(tanh_slope));
            memory[i] = kept[i] + net.gain[i] * update;
            kept[i] = net.kappa[i] * memory[i];
            if (!updates) continue;
            Part<R>(units, i).store(updates, update);
            Part<R>(units, i).store(memories, memory[i]);
        }
        y.x = net.bias.back().x;
        multiply(net.windows, memory, net.forward.back(), y);
        net.each_window(block, t, [&](int64_t to, int64_t from) {
            std::copy_n(y.data() + from, net.d_out, output + to);
        });
    }
    for (int i = 0; ends.last && i < memory.across(); i++)
        Part<R>(units, i).store(ends.last + block * units, memory[i]);
}

template <class R> struct Adjoint {
    const R *grad;  // of the output [batch, time, d_out]
    const R *last;  // of the memory after the last step
    R *output;      // that of the output [block, time, window, d_out]
    R *hidden, *update, *kappa, *gain, *bias, *start;
    explicit Adjoint(void *const *array)
        : grad((R *)array[0]), last((R *)array[1]), output((R *)array[2]), hidden((R *)array[3]),
          update((R *)array[4]), kappa((R *)array[5]), gain((R *)array[6]), bias((R *)array[7]),
          start((R *)array[8]) {}
};

// Goes down in memory too, from the last step's last register to the first's first: what fetches ahead can follow.
template <class R>
void remember_backward(const Network<R> &net, const Trace<R> &trace, const Ends<R> &ends, const Adjoint<R> &adjoint,
                       int64_t block) {
    using V = Register<R>;
    const int64_t units = net.windows * net.d_m, n = net.windows * net.d_mlp, steps = net.blocks * net.time;
    Numbers<R> carry(units), du(units), dkappa(units), dgain(units), x(n), dx(n), dy(net.windows * net.d_out);
    std::vector<Numbers<R>> dbias;
    for (const Numbers<R> &bias : net.bias) dbias.emplace_back(bias.n);
    for (int i = 0; adjoint.last && i < carry.across(); i++)
        carry[i] = Part<R>(units, i).load(adjoint.last + block * units);
    for (int64_t t = net.time - 1; t >= 0; t--) {
        const int64_t row = block * net.time + t;
        net.each_window(block, t, [&](int64_t from, int64_t to) {
            std::copy_n(adjoint.grad + from, net.d_out, dy.data() + to);
        });
        for (int i = 0; i < dy.across(); i++) {
            dbias.back()[i] += dy[i];
            Part<R>(dy.n, i).store(adjoint.output + row * dy.n, dy[i]);
        }
        // A loss of the last step alone leaves nothing to multiply at the others.
        if (std::any_of(dy.data(), dy.data() + dy.n, [](R y) { return y != 0; }))
            multiply(net.windows, dy, net.backward.back(), carry);
        const R *updates = trace.update + row * units;
        R *grad_update = adjoint.update + row * units;
        for (int i = du.across() - 1; i >= 0; i--) {
            const Part<R> part(units, i);
            part.fetch(updates - units), part.fetch_to_write(grad_update - units);
            const V update = part.load(updates);
            dgain[i] += carry[i] * update;
            du[i] = carry[i] * (net.gain[i] * R(tanh_slope)) * (1 - update * update);
            dbias[net.depth][i] += du[i];
            part.store(grad_update, du[i]);
        }
        for (int64_t layer = net.depth; layer-- > 0; std::swap(x, dx)) {
            std::fill(dx.x.begin(), dx.x.end(), V{});
            multiply(net.windows, layer + 1 == net.depth ? du : x, net.backward[layer + 1], dx);
            const int64_t place = (layer * steps + row) * n;
            const R *hidden = trace.hidden + place, *slope = at(trace.slope, place);
            R *grad_hidden = adjoint.hidden + place;
            for (int i = dx.across() - 1; i >= 0; i--) {
                const Part<R> part(n, i);
                part.fetch((slope ? slope : hidden) - n), part.fetch_to_write(grad_hidden - n);
                dx[i] = slope ? dx[i] * part.load(slope) : part.load(hidden) > 0 ? dx[i] : V{};
                dbias[layer][i] += dx[i];
                part.store(grad_hidden, dx[i]);
            }
        }
        multiply(net.windows, net.depth ? x : du, net.backward[0], carry);
        const R *before = t ? trace.memory + (row - 1) * units : ends.start ? ends.start + block * units : nullptr;
        for (int i = carry.across() - 1; i >= 0; i--) {
            const Part<R> part(units, i);
            if (t) part.fetch(before - units);
            if (before) dkappa[i] += carry[i] * part.load(before);
            carry[i] *= net.kappa[i];
        }
    }
    for (int i = 0; adjoint.start && i < carry.across(); i++)
        Part<R>(units, i).store(adjoint.start + block * units, carry[i]);
    net.add(dkappa, adjoint.kappa, net.d_m);
    net.add(dgain, adjoint.gain, net.d_m);
    R *bias = adjoint.bias;
    for (int64_t layer = 0; layer <= net.depth + 1; bias += net.outputs(layer++))
        net.add(dbias[layer], bias, net.outputs(layer));
}

// size: batch, blocks, time, windows, d_m, d_mlp, depth, d_out, 1 for SiLU.
// array: the trace, the ends, drive [block, time, window, n], output [batch, time, d_out], the network.
template <class R> void remember(const int64_t *size, void *const *array) {
    const Network<R> net(size, array + 8);
    for (int64_t block = 0; block < net.blocks; block++)
        remember<R>(net, Trace<R>(array), Ends<R>(array + 4), (const R *)array[6], (R *)array[7], block);
}
// array: the trace, the ends, the adjoint, the network.
template <class R> void remember_backward(const int64_t *size, void *const *array) {
    const Network<R> net(size, array + 15);
    for (int64_t block = 0; block < net.blocks; block++)
        remember_backward<R>(net, Trace<R>(array), Ends<R>(array + 4), Adjoint<R>(array + 6), block);
}
EXPORT(remember)
EXPORT(remember_backward)
