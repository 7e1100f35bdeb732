"""How long noise lets a plateau last: mean times of escape, simulated and estimated.

A gate s that opens a conductance carries Ornstein-Uhlenbeck noise, s = s0 + y, τ dy = -y dt + σ sqrt(2τ) dW, and the
membrane follows it, dv/dt = F(v, s), F linear in s. The memory is lost once v has passed the unstable state for good.

Which regime. A plateau relaxes within 1-3 ms, the gate within τ = 43 ms: v slides along the upper branch and the
plateau ends where s crosses the fold, s_low = w_low/w. Taken literally (the adiabatic limit, v infinitely fast) this is
the first passage of an Ornstein-Uhlenbeck process through a level b = (s0 - s_low)/σ standard deviations below its
mean,

    T = τ sqrt(π) ∫_0^{b/√2} e^{x²} (1 + erf x) dx                  (Siegert 1951, Phys Rev 81:617).

It is several times too short: at the fold the membrane slows down without limit, and a dip of s must last until v has
passed the bottleneck. The opposite limit, white noise in an effective potential of v, would need τ far below the
membrane's time constant. Between the two Kramers' exponent is the least action: log T ~ A/σ² for σ → 0, where

    A = min ∫ u²/(4τ) dt,    u = τ dy/dt + y,    s = S(v, dv/dt) the gate that drives v along a path

over all paths of v from the plateau to the unstable state (Freidlin & Wentzell 1984). A is never less than the
adiabatic (s0 - s_low)²/2, to which it falls as τ grows, and for τ → 0 it tends to the barrier of the effective
potential. The prefactor counts how often a smooth Gaussian quantity crosses a level: near the best path, escape is the
event that the noise's projection on that path exceeds β = sqrt(2A)/σ, and by Rice's formula this happens at the rate

    1/T = ν exp(-β²/2),    ν = sqrt(∫ (du/dt)² dt / ∫ u² dt) / 2π,

the outcrossing rate of the first-order reliability method, with the best path as design point (Koo, Der Kiureghian &
Fujimura 2005, Probabilistic Engineering Mechanics 20). For the dendrite at w = 15 its times are 5 to 12 % below
those of 300 simulations, at τ = 10 and 43 ms and σ = 0.2 and 0.3.
"""

from dataclasses import dataclass
from math import erf, exp, inf, pi, sqrt

import numpy as np
from scipy import sparse
from scipy.integrate import quad
from scipy.optimize import minimize_scalar
from scipy.sparse.linalg import spsolve

from sims.analysis.fixed_points import check_voltage, fixed_points
from sims.analysis.integrate import Integrator
from sims.mistakes import Mistake
from sims.streams import stream

POINTS = 400  # of a path
LONGEST = 700.0  # the largest exponent that a float's exp() takes
MOST_STEPS = 100  # of the search for the least action
GAIN = 1e-6  # relative: a step that lowers the action by less ends the search; what is left is a shift in time


class EscapeError(Mistake):
    """A file without a plateau to escape from, or noise that does not fit; its text says which."""


@dataclass(frozen=True)
class Plateau:
    """A model's upper stable state under noise on one gate.

    model: a neuron file.  gate: the state that carries noise.  mean: its resting value.  tau: correlation time, s.
    up, middle, down: v (volt) of the plateau, of the unstable state below it, and of the next stable state.
    """

    model: object
    gate: str
    mean: float
    tau: float
    up: float
    middle: float
    down: float

    @property
    def lost_below(self):
        """Halfway from the unstable state to the lower one, volt: a voltage below it counts as an escape."""
        return (self.middle + self.down) / 2

    @property
    def fold(self):
        """The lowest gate that still holds the plateau, were it to move slowly: w_low/w."""
        edges = dict(bounds=(self.middle, self.up), method="bounded", options={"xatol": 1e-9})
        return float(minimize_scalar(lambda v: self.gate_along(v, 0.0), **edges).fun)

    def drift(self, v, s):
        """dv/dt, volt per second, at voltages v and gates s."""
        return self.model.derivative("v", self.model.values() | {"v": v, "t": 0.0, self.gate: s})

    def gate_along(self, v, speed):
        """The gate S(v, dv/dt) that moves v at a speed."""
        closed, opened = self.drift(v, 0.0), self.drift(v, 1.0)
        return (speed - closed) / (opened - closed)


def plateau(model, gate="s", tau=None):
    """The Plateau of a neuron file whose states are v and a gate that v does not move.

    tau: correlation time of the noise, s; by default the gate's own time constant.
    Raises EscapeError where the file has other states, or fewer than two stable voltages at its own values.
    """
    check_voltage(model)
    if gate not in model.states or set(model.states) != {"v", gate} or gate == "v":
        raise EscapeError(
            f"--on: found '{gate}', expected the one state of {model.path} besides v; its states are "
            f"{', '.join(model.states)}"
        )
    if "v" in model.needs(model.states[gate].expression.names):
        raise EscapeError(f"--on: found '{gate}', which follows v in {model.path}; expected a gate that does not")
    points = fixed_points(model)
    if sum(point.stable for point in points) < 2:
        held = ", ".join(f"{point.v * 1e3:.1f} mV" for point in points if point.stable) or "none"
        raise EscapeError(f"{model.path}:1: no plateau to escape from; stable voltages: {held}, expected two")
    down, middle, up = points[-3:]
    zero, one = (model.derivative(gate, model.values() | {gate: x, "t": 0.0}) for x in (0.0, 1.0))
    tau = float(1 / (zero - one)) if tau is None else tau
    found = Plateau(model, gate, up.states[gate], tau, up.v, middle.v, down.v)
    at, levels = np.array([up.v, middle.v]), found.mean * np.array([[0.5], [1.0], [1.5]])
    speeds = found.drift(at, levels)
    if not (found.tau > 0 and np.allclose(speeds[0] + speeds[2], 2 * speeds[1], atol=1e-9 * np.abs(speeds).max())):
        raise EscapeError(
            f"--on, --tau: found noise of {found.tau:g} s on '{gate}', expected a positive time and dv/dt linear in "
            f"'{gate}'"
        )
    return found


def escape_times(plateau, sd, seconds, trials=200, dt=1e-3, seed=0, progress=None):
    """When each trial, started on the plateau with its gate at rest, is lost.

    sd: standard deviation of the gate.  dt: step, s.  progress: called with the ms simulated after every step.
    Returns an array (trials,), s, infinite where the plateau outlived `seconds`. Another simulator takes the place of
    this function by the same arguments.
    """
    model, gate = plateau.model, plateau.gate
    integrator, generator = Integrator(model, dt, held={gate}), stream(seed, "escape")
    keep = exp(-dt / plateau.tau)
    noise, lost = np.zeros(trials), np.full(trials, np.inf)
    values = model.values(v=np.full(trials, plateau.up), t=0.0)
    for step in range(round(seconds / dt)):
        values |= integrator.step(values | {gate: plateau.mean + noise})
        noise = keep * noise + sd * sqrt(1 - keep**2) * generator.standard_normal(trials)
        lost[(values["v"] < plateau.lost_below) & np.isinf(lost)] = (step + 1) * dt
        if progress:
            progress(dt * 1e3)
    return lost


def mean_time(times, seconds):
    """The mean of exponentially distributed escape times, of which those beyond `seconds` are only known to be longer:
    the total time at risk over the number lost; infinite where none was."""
    count = np.isfinite(times).sum()
    return float(np.minimum(times, seconds).sum() / count) if count else inf


def adiabatic_time(level, tau):
    """Siegert's mean time, s, in which an Ornstein-Uhlenbeck process first falls `level` standard deviations below its
    mean, where it started.  tau: its correlation time, s."""
    if level**2 / 2 > LONGEST:
        return inf
    return tau * sqrt(pi) * quad(lambda x: exp(x * x) * (1 + erf(x)), 0, level / sqrt(2))[0]


@dataclass(frozen=True)
class Escape:
    """The most probable escape: action A, in units of the gate's variance; attempts ν, Hz; and the path itself:
    time, s, v, volt, and gate, each (POINTS + 1,), from the plateau to the unstable state."""

    action: float
    attempts: float
    time: np.ndarray
    v: np.ndarray
    gate: np.ndarray

    def time_to_escape(self, sd):
        """Kramers' mean time, s, under noise of standard deviation `sd`."""
        exponent = self.action / sd**2
        return exp(exponent) / self.attempts if exponent < LONGEST else inf


def compare(plateau, sds, seconds, trials, dt, seed=0, progress=None, simulate=escape_times):
    """Simulated escape times beside their estimates, for each standard deviation.

    simulate: a function that takes the arguments of `escape_times`.  Returns plain data; see `table`.
    Raises EscapeError for numbers that are not positive.
    """
    for option, number in (("--seconds", seconds), ("--trials", trials), *(("--sd", sd) for sd in sds)):
        if not number > 0:
            raise EscapeError(f"{option}: found {number:g}, expected a number above 0")
    path, rows = most_probable_escape(plateau), []
    for sd in sds:
        times = simulate(plateau, sd, seconds, trials, dt, seed, progress)
        row = {"simulated": mean_time(times, seconds), "kramers": path.time_to_escape(sd)}
        row["adiabatic"] = adiabatic_time((plateau.mean - plateau.fold) / sd, plateau.tau)
        rows.append(
            {"sd": sd, "lost": float(np.isfinite(times).mean())}
            | {f"{name}_s": value if np.isfinite(value) else None for name, value in row.items()}
            | {f"{name}_lost": 1 - exp(-seconds / value) for name, value in row.items() if name != "simulated"}
        )
    return {
        "file": str(plateau.model.path),
        "gate": plateau.gate,
        "tau_ms": plateau.tau * 1e3,
        "mean": plateau.mean,
        "fold": plateau.fold,
        "v_mV": {"plateau": plateau.up * 1e3, "unstable": plateau.middle * 1e3, "lost_below": plateau.lost_below * 1e3},
        "action": path.action,
        "attempts_Hz": path.attempts,
        "seconds": seconds,
        "trials": trials,
        "rows": rows,
    }


def table(figures):
    """The figures of `compare` for people."""
    f, voltages = figures, figures["v_mV"]
    lines = [
        f"{f['file']}: plateau at {voltages['plateau']:.1f} mV, lost below {voltages['lost_below']:.1f} mV; "
        f"{f['gate']} = {f['mean']:g} with noise of {f['tau_ms']:g} ms, the plateau's fold at {f['fold']:.4g}",
        f"probability of losing the plateau within {f['seconds']:g} s, and mean time to it ({f['trials']} trials)",
        "    sd      simulated               Kramers                 adiabatic",
    ]
    for row in f["rows"]:
        pairs = [(row["lost"], row["simulated_s"])]
        pairs += [(row[f"{name}_lost"], row[f"{name}_s"]) for name in ("kramers", "adiabatic")]
        cells = [f"{lost:6.3f} {'long' if time is None else f'{time:.3g} s':>10}" for lost, time in pairs]
        lines.append(f"  {row['sd']:<8g}" + "       ".join(cells))
    return "\n".join(lines)


def most_probable_escape(plateau):
    """The Escape of least action, by damped Gauss-Newton (Levenberg & Marquardt) on a path of v at equal times.

    The ends stand still at the plateau and at the unstable state; the path has 8 τ and 150 ms to go, of which it spends
    most at rest. At midpoints s = S(v, dv/dt), and the residuals are u sqrt(dt/2τ), half whose squares are the action.
    """
    tau, mean = plateau.tau, plateau.mean
    total = 8 * tau + 0.15
    time = np.linspace(0, total, POINTS + 1)
    h = time[1]
    rise = sparse.diags([0.5 - tau / h, 0.5 + tau / h], [0, 1], shape=(POINTS + 1, POINTS + 2))
    weight = sqrt(h / (2 * tau))

    def gates(inner):
        v = np.concatenate([[plateau.up] * 2, inner, [plateau.middle] * 2])
        middle, speed = (v[1:] + v[:-1]) / 2, np.diff(v) / h
        return middle, speed, plateau.gate_along(middle, speed)

    def residuals(inner):
        return weight * (rise @ (gates(inner)[2] - mean))

    def jacobian(inner):
        middle, speed, s = gates(inner)
        by_speed = plateau.gate_along(middle, speed + 1) - s  # S is linear in the speed
        by_v = (plateau.gate_along(middle + 1e-7, speed) - plateau.gate_along(middle - 1e-7, speed)) / 2e-7
        slopes = [by_v / 2 - by_speed / h, by_v / 2 + by_speed / h]
        return weight * (rise @ sparse.diags(slopes, [0, 1], shape=(POINTS + 2, POINTS + 3)).tocsc()[:, 2:-2])

    start = 1 / (1 + np.exp(-(time[1:-1] - 0.6 * total) / (tau / 3 + 0.01)))
    inner = plateau.up + (plateau.middle - plateau.up) * start
    action, damping = np.sum(residuals(inner) ** 2) / 2, 1e-6
    for _ in range(MOST_STEPS):
        J, r = jacobian(inner), residuals(inner)
        normal = (J.T @ J).tocsc()
        trial = inner - spsolve((normal + damping * sparse.diags(normal.diagonal())).tocsc(), J.T @ r)
        lower = np.sum(residuals(trial) ** 2) / 2
        if not lower <= action:
            damping *= 10
            continue
        gained, inner, action, damping = action - lower, trial, lower, damping / 5
        if gained < GAIN * action:
            break
    else:
        raise EscapeError(f"{plateau.model.path}:1: the search for the most probable escape did not settle")
    u = residuals(inner) / weight
    s = gates(inner)[2]
    return Escape(
        action=float(action),
        attempts=float(sqrt(np.sum(np.diff(u) ** 2) / np.sum(u**2)) / h / (2 * pi)),
        time=time,
        v=np.concatenate([[plateau.up], inner, [plateau.middle]]),
        gate=(s[1:] + s[:-1]) / 2,
    )
