// The spiking neuron's recurrence and its adjoint; fitting/kernels/spiking.py has the equations.
//
// Each register of a block's windows goes through all of time on its own.

template <class R> struct Neuron {
    const R kappa_s, kappa_m, bias, reset, kappa_a, beta;
    explicit Neuron(const R *c)
        : kappa_s(c[0]), kappa_m(c[1]), bias(c[2]), reset(c[3]), kappa_a(c[4]), beta(c[5]) {}
};

// What a forward pass leaves behind, all [block, time, window]: current and adaptation only where a gradient is wanted.
template <class R> struct Spiking {
    R *voltage, *threshold, *current, *adaptation;
    explicit Spiking(void *const *array)
        : voltage((R *)array[0]), threshold((R *)array[1]), current((R *)array[2]), adaptation((R *)array[3]) {}
};

// size: blocks, time, windows.  array: the six constants, input, then what is left behind.
template <class R> void integrate_and_fire(const int64_t *size, void *const *array) {
    using V = Register<R>;
    const int64_t blocks = size[0], time = size[1], windows = size[2];
    const Neuron<R> neuron((const R *)array[0]);
    const R *input = (const R *)array[1];
    const Spiking<R> to(array + 2);
    for (int64_t block = 0; block < blocks; block++)
        for (int i = 0; i < registers<R>(windows); i++) {
            const Part<R> part(windows, i);
            V s{}, v{}, a{}, z{};
            for (int64_t t = 0, row = block * time * windows; t < time; t++, row += windows) {
                s = neuron.kappa_s * s + (1 - neuron.kappa_s) * part.load(input + row);
                v = neuron.kappa_m * v + (1 - neuron.kappa_m) * (s + neuron.bias) - neuron.reset * z;
                a = neuron.kappa_a * a + z;
                const V theta = 1 + neuron.beta * a;
                z = v >= theta ? V{} + 1 : V{};
                part.store(to.voltage + row, v);
                part.store(to.threshold + row, theta);
                if (!to.current) continue;
                part.store(to.current + row, s);
                part.store(to.adaptation + row, a);
            }
        }
}

// size: blocks, time, windows, 1 where gradients flow through the reset.
// array: the constants, input, what was left behind, 1/width, gradients of voltage, of the threshold, of the input and
// of the constants.
template <class R> void integrate_and_fire_backward(const int64_t *size, void *const *array) {
    using V = Register<R>;
    const int64_t blocks = size[0], time = size[1], windows = size[2];
    const Neuron<R> neuron((const R *)array[0]);
    const R *input = (const R *)array[1];
    const Spiking<R> from(array + 2);
    const R per_width = *(const R *)array[6], through_reset = size[3] ? neuron.reset : 0;
    const R *grad_voltage = (const R *)array[7], *grad_threshold = (const R *)array[8];
    R *grad_input = (R *)array[9], *grad_constants = (R *)array[10];
    V sums[6] = {};  // gradients of the constants, in their order
    for (int64_t block = 0; block < blocks; block++)
        for (int i = 0; i < registers<R>(windows); i++) {
            const Part<R> part(windows, i);
            V ds{}, dv{}, da{};  // at the start of a step those of the step after
            for (int64_t t = time - 1, row = (block * time + t) * windows; t >= 0; t--, row -= windows) {
                const V distance = part.load(from.voltage + row) - part.load(from.threshold + row);
                const V slope = 1 + per_width * (distance < 0 ? -distance : distance);
                const V spike = (da - through_reset * dv) * per_width / (2 * slope * slope);
                const V theta = part.load(grad_threshold + row) - spike;
                sums[3] -= distance >= 0 ? dv : V{};
                dv = part.load(grad_voltage + row) + neuron.kappa_m * dv + spike;
                da = neuron.kappa_a * da + neuron.beta * theta;
                ds = neuron.kappa_s * ds + (1 - neuron.kappa_m) * dv;
                part.store(grad_input + row, (1 - neuron.kappa_s) * ds);
                const V zero{}, s = part.load(from.current + row), a = part.load(from.adaptation + row);
                sums[0] += ds * ((t ? part.load(from.current + row - windows) : zero) - part.load(input + row));
                sums[1] += dv * ((t ? part.load(from.voltage + row - windows) : zero) - s - neuron.bias);
                sums[2] += (1 - neuron.kappa_m) * dv;
                sums[4] += da * (t ? part.load(from.adaptation + row - windows) : zero);
                sums[5] += theta * a;
            }
        }
    for (int constant = 0; constant < 6; constant++) {
        grad_constants[constant] = 0;
        for (int lane = 0; lane < lanes<R>; lane++) grad_constants[constant] += sums[constant][lane];
    }
}
EXPORT(integrate_and_fire)
EXPORT(integrate_and_fire_backward)
