// Inner hair cells and bushy cells of a cochlea, one place in each lane of SIDE registers; see cochlea.py for the model.

#include <algorithm>
#include <cstdint>

#include "vector_math.hpp"

namespace {

using V = simd::Types<double>::V;
using I = simd::Types<double>::I;
constexpr int WIDTH = simd::lanes<V>, SIDE = 2, LANES = WIDTH * SIDE;  // two registers hide each other's latency
constexpr int BITS = 6;      // of the number of fibres
constexpr int LONGEST = 64;  // refractory steps of a fibre

struct Constants {
    double y, g, l, r, x, A, B, M;  // of the hair cell; y, g, l, r, x per step
    double release;                 // probability of a spike in a step per transmitter in the cleft
    double most;                    // probability that stands for certainty
    double fibres, synapse, membrane, weight, free, cleft, reprocessed;
};

SIMD_INLINE V all(double value) { return value - V{}; }
SIMD_INLINE V at_least_zero(V x) { return x > 0 ? x : V{}; }
SIMD_INLINE bool any(I x) {
    int64_t found = 0;
    for (int n = 0; n < WIDTH; ++n) found |= x[n];
    return found;
}

}  // namespace

extern "C" int64_t cochlea_lanes() { return LANES; }

// sizes: places (a multiple of LANES), steps, refractory steps of a fibre, of a cell, room for spikes of a place.
// arrays: velocity and uniform numbers float32 [place, step]; Constants; spikes int32 [place, room] and their number
// int64 [place]; firing probability float64 [place, step], or null.
extern "C" void cochlea_cells(const int64_t *sizes, void **arrays) {
    const int64_t places = sizes[0], steps = sizes[1], fibre_rest = sizes[2], cell_rest = sizes[3], room = sizes[4];
    const Constants k = *static_cast<const Constants *>(arrays[2]);
    auto *probability = static_cast<double *>(arrays[5]);

    for (int64_t first = 0; first < places; first += LANES) {
        const float *velocity = static_cast<const float *>(arrays[0]) + first * steps;
        const float *uniform = static_cast<const float *>(arrays[1]) + first * steps;
        auto *spikes = static_cast<int32_t *>(arrays[3]) + first * room;
        auto *number = static_cast<int64_t *>(arrays[4]) + first;
        V q[SIDE], c[SIDE], w[SIDE], current[SIDE], potential[SIDE], idle[SIDE], rest[SIDE], recent[LONGEST][SIDE];
        std::fill_n(&recent[0][0], LONGEST * SIDE, V{});
        std::fill_n(number, LANES, 0);
        for (int s = 0; s < SIDE; ++s) {
            q[s] = all(k.free), c[s] = all(k.cleft), w[s] = all(k.reprocessed);
            current[s] = potential[s] = rest[s] = V{}, idle[s] = all(k.fibres);
        }
        int64_t slot = 0;
        for (int64_t t = 0; t < steps; ++t) {
            V odds[SIDE], term[SIDE], below[SIDE], chance[SIDE], firing[SIDE];
            for (int s = 0; s < SIDE; ++s) {
                V drive;
                for (int n = 0; n < WIDTH; ++n) {
                    drive[n] = velocity[(s * WIDTH + n) * steps + t];
                    chance[s][n] = uniform[(s * WIDTH + n) * steps + t];
                }
                const V open = at_least_zero(drive + k.A), eject = k.g * open / (open + k.B) * q[s];
                const V replenish = at_least_zero(k.y * (k.M - q[s]));
                const V lost = (k.l + k.r) * c[s], reuptake = k.r * c[s], reprocess = k.x * w[s];
                q[s] = at_least_zero(q[s] + replenish - eject + reprocess);
                c[s] = at_least_zero(c[s] + eject - lost);
                w[s] = at_least_zero(w[s] + reuptake - reprocess);
                const V p = c[s] * k.release;
                if (probability)
                    for (int n = 0; n < WIDTH; ++n) probability[(first + s * WIDTH + n) * steps + t] = p[n];

                // How many of the idle fibres spike: a binomial number, whose distribution is summed up to the uniform
                // number. The sum begins with nobody: (1 - p) to the power of the idle fibres.
                idle[s] += recent[slot][s];
                const V likely = p < k.most ? p : all(k.most);
                odds[s] = likely / (1 - likely);
                V power = 1 - likely, product = all(1);
                const I exponent = __builtin_convertvector(idle[s], I);
                for (int bit = 0; bit < BITS; ++bit) {
                    product *= (exponent & (int64_t(1) << bit)) != 0 ? power : all(1);
                    power *= power;
                }
                term[s] = below[s] = product, firing[s] = V{};
            }
            for (double j = 1; j <= k.fibres; ++j) {
                I more = {};
                for (int s = 0; s < SIDE; ++s) {
                    const I beyond = (chance[s] >= below[s]) & (idle[s] >= j);
                    firing[s] += beyond ? all(1) : V{};
                    term[s] *= (idle[s] - (j - 1)) * (1 / j) * odds[s];
                    below[s] += term[s];
                    more |= beyond;
                }
                if (!any(more)) break;
            }
            for (int s = 0; s < SIDE; ++s) {
                idle[s] -= firing[s];
                recent[slot][s] = firing[s];
                current[s] = current[s] * k.synapse + firing[s];
                potential[s] = rest[s] > 0 ? V{} : potential[s] * k.membrane + current[s] * k.weight;
                rest[s] = at_least_zero(rest[s] - 1);
                const I spiking = potential[s] >= 1;
                if (any(spiking)) {
                    for (int n = 0; n < WIDTH; ++n)
                        if (const int64_t lane = s * WIDTH + n; spiking[n] && number[lane] < room)
                            spikes[lane * room + number[lane]++] = static_cast<int32_t>(t);
                    potential[s] = spiking ? V{} : potential[s];
                    rest[s] = spiking ? all(cell_rest) : rest[s];
                }
            }
            slot = slot + 1 == fibre_rest ? 0 : slot + 1;
        }
    }
}
