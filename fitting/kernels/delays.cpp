// Networks of delays: spikes run forward and gradients gathered from them; fitting/kernels/delays.py has the equations.
//
// A spike adds the D rows of its neuron's weights to what arrives in the next D steps, so a quiet step costs little.

template <class R> void add(const R *__restrict from, R *__restrict to, int64_t n) {
    for (int64_t j = 0; j < n; j++) to[j] += from[j];
}

struct Spike {
    int64_t source, trial;
};

// Add to u, [step, trial, target], what spikes of step t bring. The spikes are in the order of their sources.
// Where there are many, all of them go through one delay after the other: weights are fetched once for all trials, and
// what they are added to stays in the first cache, so that a network that runs away costs a product of matrices.
template <class R>
void deliver(const std::vector<Spike> &spikes, const R *weight, R *u, int64_t t, const int64_t *size) {
    const int64_t steps = size[0], trials = size[1], n = size[2], D = size[3];
    const int64_t last = std::min(D, steps - 1 - t), together = (int64_t)spikes.size() > 4 * trials ? 1 : last;
    for (int64_t first = 0; first < last; first += together)
        for (const Spike &spike : spikes)
            for (int64_t d = first; d < first + together; d++)
                add(weight + (spike.source * D + d) * n, u + ((t + 1 + d) * trials + spike.trial) * n, n);
}

// size: steps, trials, n, D, 1 where a spike subtracts the threshold and 0 where it resets to zero, most spikes of a trial.
// array: beta and theta; weight [source, delay, target]; imposed int8 [step, trial, n]; then what is found: u and spikes,
// of the latter's shape, and int64 [trial], the step from which a trial was silenced, or the number of steps.
template <class R> void run_delays(const int64_t *size, void *const *array) {
    const int64_t steps = size[0], trials = size[1], n = size[2], most = size[5];
    const bool subtract = size[4];
    const R beta = ((const R *)array[0])[0], theta = ((const R *)array[0])[1];
    const R *weight = (const R *)array[1];
    const int8_t *imposed = (const int8_t *)array[2];
    R *u = (R *)array[3], *s = (R *)array[4];
    int64_t *silenced = (int64_t *)array[5];
    std::vector<int64_t> emitted(trials);
    std::vector<Spike> spikes;
    std::fill(u, u + steps * trials * n, R(0));
    std::fill(silenced, silenced + trials, steps);
    for (int64_t t = 0; t < steps; t++) {
        spikes.clear();
        for (int64_t m = 0; m < trials; m++) {
            const int64_t row = (t * trials + m) * n, before = row - trials * n;
            R *__restrict now = u + row, *__restrict fired = s + row;
            if (t) {
                const R *__restrict u0 = u + before, *__restrict s0 = s + before;
                for (int64_t j = 0; j < n; j++)
                    now[j] += beta * (subtract ? u0[j] - theta * s0[j] : s0[j] > 0 ? R(0) : u0[j]);
            }
            if (emitted[m] > most) silenced[m] = std::min(silenced[m], t);
            const int8_t *__restrict given = imposed + row;
            const bool silent = silenced[m] <= t;
            for (int64_t j = 0; j < n; j++)
                fired[j] = silent ? R(0) : given[j] < 0 ? R(now[j] >= theta) : R(given[j]);
            for (int64_t j = 0; j < n; j++)
                if (fired[j] > 0) spikes.push_back({j, m}), emitted[m]++;
        }
        std::stable_sort(spikes.begin(), spikes.end(), [](Spike a, Spike b) { return a.source < b.source; });
        deliver(spikes, weight, u, t, size);
    }
}

// size: steps, trials, n, D.  array: spikes and grad, [step, trial, n]; what each weight's gradient is, of weight's shape.
template <class R> void gather_delays(const int64_t *size, void *const *array) {
    const int64_t steps = size[0], trials = size[1], n = size[2], D = size[3];
    const R *spikes = (const R *)array[0], *grad = (const R *)array[1];
    R *of_weight = (R *)array[2];
    std::vector<std::vector<int64_t>> places(n);
    for (int64_t row = 0; row < steps * trials; row++)
        for (int64_t i = 0; i < n; i++)
            if (spikes[row * n + i] > 0) places[i].push_back(row);
    std::fill(of_weight, of_weight + n * D * n, R(0));
    for (int64_t i = 0; i < n; i++)
        for (int64_t row : places[i]) {
            const int64_t last = std::min(D, steps - 1 - row / trials);
            for (int64_t d = 0; d < last; d++)
                add(grad + (row + (d + 1) * trials) * n, of_weight + (i * D + d) * n, n);
        }
}
EXPORT(run_delays)
EXPORT(gather_delays)
