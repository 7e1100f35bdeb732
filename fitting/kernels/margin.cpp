// Learning of what each neuron of a network of delays must do at every step; fitting/kernels/margin.py has the equations.
//
// A neuron's weights meet no other's, so a register of neurons learns all patterns before the next register begins, and
// what it works on stays in the cache.

template <class R> bool any(Register<R> x) {
    uint64_t words[sizeof x / 8], found = 0;
    std::memcpy(words, &x, sizeof x);
    for (uint64_t word : words) found |= word;
    return found;
}

// size: patterns, steps, n, D, first and last neuron that learns, first step that counts, epochs, 1 where a spike
// subtracts the threshold.
// array: beta, theta, margin to keep, margin to aim at, rate and what is as good as no gradient; bounds int32 [pattern,
// step + 1] and source uint16 [spike] of the patterns; weight [source, delay, target]; how often each neuron's margin is
// not kept, int32 [epoch, n].
template <class R> void learn_margins(const int64_t *size, void *const *array) {
    using V = Register<R>;
    const int64_t patterns = size[0], steps = size[1], n = size[2], D = size[3], scored = size[6], epochs = size[7];
    const bool subtract = size[8];
    const R *constant = (const R *)array[0];
    const R beta = constant[0], theta = constant[1], keep = constant[2], aim = constant[3], rate = constant[4];
    const R nothing = constant[5];
    const int32_t *bounds = (const int32_t *)array[1];
    const uint16_t *source = (const uint16_t *)array[2];
    R *weight = (R *)array[3];
    int32_t *lapses = (int32_t *)array[4];
    std::vector<V> w(n * D), u(steps), wanted(steps);
    std::vector<int32_t> live(steps + 1);  // how many of the steps before have a gradient
    for (int64_t first = size[4]; first < size[5]; first += lanes<R>) {
        const int64_t count = std::min<int64_t>(lanes<R>, size[5] - first);
        const Part<R> part(count, 0);
        V real{};
        for (int lane = 0; lane < count; lane++) real[lane] = 1;
        for (int64_t row = 0; row < n * D; row++) w[row] = part.load(weight + row * n + first);
        bool learnt = false;
        for (int64_t epoch = 0; epoch < epochs && !learnt; epoch++) {
            learnt = true;
            for (int64_t m = 0; m < patterns; m++) {
                const int32_t *bound = bounds + m * (steps + 1);
                std::fill(u.begin(), u.end(), V{});
                std::fill(wanted.begin(), wanted.end(), V{});
                for (int64_t t = 0; t < steps; t++)
                    for (int32_t spike = bound[t]; spike < bound[t + 1]; spike++) {
                        const int64_t i = source[spike];
                        if (i >= first && i < first + count) wanted[t][i - first] = 1;
                        const V *__restrict from = &w[i * D];
                        V *__restrict to = &u[t] + 1;
                        for (int64_t d = 0; d < std::min(D, steps - 1 - t); d++) to[d] += from[d];
                    }
                // From here on u holds what is missing.
                int64_t last = -1;
                V rested{};
                for (int64_t t = 0; t < steps; t++) {
                    const V spike = wanted[t], potential = beta * rested + u[t], sign = 2 * spike - 1;
                    rested = subtract ? potential - theta * spike : (1 - spike) * potential;
                    const V kept = sign * (potential - theta);
                    const V missing = kept < keep ? real * sign * (aim - kept) : V{};
                    u[t] = t < scored ? V{} : missing;
                    if (t < scored || !any<R>(missing)) continue;
                    last = t;
                    for (int lane = 0; lane < count; lane++)
                        if (missing[lane] != 0) lapses[epoch * n + first + lane]++;
                }
                if (last < 0) continue;
                learnt = false;
                V later{};
                for (int64_t t = last; t >= 0; t--) {
                    later = u[t] + beta * (subtract ? later : (1 - wanted[t]) * later);
                    const V size = later < 0 ? -later : later;
                    u[t] = later = size > nothing ? later : V{};
                }
                live[0] = 0;
                for (int64_t t = 0; t <= last; t++) live[t + 1] = live[t] + any<R>(u[t]);
                for (int64_t t = 0; t < last; t++) {
                    const int64_t reached = std::min(D, last - t);
                    if (live[t + 1 + reached] == live[t + 1]) continue;
                    for (int32_t spike = bound[t]; spike < bound[t + 1]; spike++) {
                        V *__restrict to = &w[source[spike] * D];
                        const V *__restrict from = &u[t] + 1;
                        for (int64_t d = 0; d < reached; d++) to[d] += rate * from[d];
                    }
                }
            }
        }
        for (int64_t row = 0; row < n * D; row++) part.store(weight + row * n + first, w[row]);
    }
}
EXPORT(learn_margins)
