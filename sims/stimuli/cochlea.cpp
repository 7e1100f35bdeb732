// Inner hair cells and bushy cells of a cochlea, LANES places side by side; see cochlea.py for the model.

#include <cstdint>

namespace {

constexpr int LANES = 8;
constexpr int BITS = 6;             // of the number of fibres
constexpr int LONGEST = 64;         // refractory steps of a fibre

struct Constants {
    double y, g, l, r, x, A, B, M;  // of the hair cell, per step where they are rates
    double release;                 // probability of a spike in a step per transmitter in the cleft
    double most;                    // probability that stands for certainty
    double fibres, synapse, membrane, weight, free, cleft, reprocessed;
};

}  // namespace

// sizes: places (a multiple of LANES), steps, refractory steps of a fibre, of a cell, room for spikes of a place.
// arrays: velocity and uniform numbers float32 [place, step]; constants; spikes int32 [place, room] and their number
// int64 [place]; firing probability float64 [place, step], or null.
extern "C" void cochlea_cells(const int64_t *sizes, void **arrays) {
    const int64_t places = sizes[0], steps = sizes[1], fibre_rest = sizes[2], cell_rest = sizes[3], room = sizes[4];
    const auto *velocity = static_cast<const float *>(arrays[0]);
    const auto *uniform = static_cast<const float *>(arrays[1]);
    const Constants k = *static_cast<const Constants *>(arrays[2]);
    auto *spikes = static_cast<int32_t *>(arrays[3]);
    auto *number = static_cast<int64_t *>(arrays[4]);
    auto *probability = static_cast<double *>(arrays[5]);

    for (int64_t first = 0; first < places; first += LANES) {
        const float *v = velocity + first * steps, *u = uniform + first * steps;
        double q[LANES], c[LANES], w[LANES], current[LANES], potential[LANES], idle[LANES], p[LANES];
        double recent[LONGEST][LANES] = {};
        int64_t found[LANES] = {}, rests[LANES] = {};
        for (int n = 0; n < LANES; ++n) {
            q[n] = k.free, c[n] = k.cleft, w[n] = k.reprocessed;
            current[n] = potential[n] = 0, idle[n] = k.fibres;
        }
        for (int64_t t = 0; t < steps; ++t) {
            double drive[LANES], chance[LANES];
            for (int n = 0; n < LANES; ++n) {
                drive[n] = v[n * steps + t];
                chance[n] = u[n * steps + t];
            }
            for (int n = 0; n < LANES; ++n) {
                const double open = drive[n] + k.A > 0 ? drive[n] + k.A : 0;
                const double eject = k.g * open / (open + k.B) * q[n];
                const double replenish = q[n] < k.M ? k.y * (k.M - q[n]) : 0;
                const double lost = (k.l + k.r) * c[n], reuptake = k.r * c[n], reprocess = k.x * w[n];
                q[n] += replenish - eject + reprocess;
                c[n] += eject - lost;
                w[n] += reuptake - reprocess;
                q[n] = q[n] > 0 ? q[n] : 0;
                c[n] = c[n] > 0 ? c[n] : 0;
                w[n] = w[n] > 0 ? w[n] : 0;
                p[n] = c[n] * k.release;
            }
            if (probability)
                for (int n = 0; n < LANES; ++n) probability[(first + n) * steps + t] = p[n];

            // How many idle fibres spike: a binomial number, its distribution summed up to the uniform number.
            double term[LANES], below[LANES], odds[LANES], spiking[LANES] = {};
            double *past = recent[t % fibre_rest];
            for (int n = 0; n < LANES; ++n) {
                idle[n] += past[n];
                p[n] = p[n] < k.most ? p[n] : k.most;
                odds[n] = p[n] / (1 - p[n]);
                double power = 1 - p[n], product = 1;
                const int64_t exponent = static_cast<int64_t>(idle[n]);
                for (int bit = 0; bit < BITS; ++bit) {
                    product *= exponent >> bit & 1 ? power : 1;
                    power *= power;
                }
                term[n] = below[n] = product;
            }
            for (double j = 1; j <= k.fibres; ++j) {
                int more = 0;
                for (int n = 0; n < LANES; ++n) {
                    const bool beyond = chance[n] >= below[n] && j <= idle[n];
                    spiking[n] += beyond ? 1 : 0;
                    more += beyond;
                    term[n] *= (idle[n] - j + 1) / j * odds[n];
                    below[n] += term[n];
                }
                if (!more) break;
            }
            for (int n = 0; n < LANES; ++n) {
                idle[n] -= spiking[n];
                past[n] = spiking[n];
                current[n] = current[n] * k.synapse + spiking[n];
                potential[n] = potential[n] * k.membrane + current[n] * k.weight;
                if (rests[n] > 0) {
                    --rests[n];
                    potential[n] = 0;
                } else if (potential[n] >= 1) {
                    if (found[n] < room) spikes[(first + n) * room + found[n]] = static_cast<int32_t>(t);
                    ++found[n];
                    potential[n] = 0;
                    rests[n] = cell_rest;
                }
            }
        }
        for (int n = 0; n < LANES; ++n) number[first + n] = found[n];
    }
}
