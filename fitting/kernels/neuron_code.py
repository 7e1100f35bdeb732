"""C++ for many steps of a neuron's equations, and its adjoint: a step in torch (sims/backends/torch_step.py) → source.

The step is a graph of operations on tensors. Forward it becomes the same operations on SIMD registers; the adjoint
follows from it operation by operation, in reverse (Griewank & Walther 2008, Evaluating Derivatives, ch. 3). What only
leads to numbers that nobody learns is left out.
"""

import operator
from dataclasses import dataclass, field

import torch

from sims.backends import torch_code, torch_step
from sims.backends.torch_spike import spike

_COMPARISONS = {
    operator.gt: ">", operator.ge: ">=", operator.lt: "<", operator.le: "<=", operator.eq: "==", operator.ne: "!=",
}  # fmt: skip
_LOGICAL = {torch.logical_and: "&", torch.logical_or: "|"}


CHUNK = 8  # steps that the adjoint takes forward again at a time


class CodeError(Exception):
    """An operation that has no counterpart here; the twin takes it."""


@dataclass
class Code:
    """states, inputs: their names, in order.  numbers: indices into `once` of the numbers that a step reads, and
    learnt: of those with a gradient.  forward, adjoint: lines of C++.  saved: {name: C++ type} of what the adjoint
    reads of the forward step."""

    states: tuple
    inputs: tuple
    numbers: list
    learnt: list
    forward: list = field(default_factory=list)
    adjoint: list = field(default_factory=list)
    saved: dict = field(default_factory=dict)


def write(neuron, learnt):
    """The Code of a step of a Neuron.

    learnt: indices of the entries of Parameters.once whose gradient is wanted.
    Raises CodeError for an operation that there is no C++ for.
    """
    return _Writer(neuron, frozenset(learnt)).code()


class _Writer:
    def __init__(self, neuron, learnt):
        self.nodes = list(neuron.step_graph.nodes)
        result, spikes = self.nodes[-1].args[0]
        self.results, self.spikes = result, spikes
        self.states, self.inputs = tuple(result), tuple(neuron.inputs)
        self.once_learnt, self.once = learnt, {}
        self.names, self.masks, self.active, self.lines = {}, set(), set(), []
        self.adjoints, self.adjoint_lines, self.read = {}, [], set()

    def code(self):
        for node in self.nodes[:-1]:
            if node.op != "placeholder":
                self._forward(node)
        if self.spikes is None:
            raise CodeError("neurons that do not spike")
        ends = [f"next[{i}] = {self._name(self.results[name])};" for i, name in enumerate(self.states)]
        ends.append(f"spikes = {self._name(self.spikes)};")
        for i, name in enumerate(self.states):
            self._add(self.results[name], f"d[{i}]")
        self._add(self.spikes, "d_spikes")
        before = {}
        for node in reversed(self.nodes[:-1]):
            if node in self.active:
                self._backward(node, before)
        learnt = sorted(self.once_learnt & set(self.once))
        ends_back = [f"d[{i}] = {before.get(('state', name), 'V{}')};" for i, name in enumerate(self.states)]
        ends_back += [f"d_in[{i}] = {before.get(('inputs', name), 'V{}')};" for i, name in enumerate(self.inputs)]
        ends_back += [f"d_p[{i}] += {before[('once', k)]};" for i, k in enumerate(learnt) if ("once", k) in before]
        saved = {name: "I" if name in self.masks else "V" for name in sorted(self.read) if name[0] in "nmr"}
        return Code(
            self.states, self.inputs, sorted(self.once, key=self.once.get), learnt,
            self.lines + ends, self.adjoint_lines + ends_back, saved,
        )  # fmt: skip

    def _name(self, value):
        """C++ for a node or a number."""
        if isinstance(value, torch.fx.Node):
            return self.names[value]
        return f"broadcast<V>(R({float(value)!r}))"

    def _number(self, value):
        """As `_name`, a mask as 0 or 1."""
        name = self._name(value)
        return f"simd::indicator<V>({name})" if name in self.masks else name

    def _let(self, node, text, mask=False):
        name = f"{'m' if mask else 'n'}{len(self.names)}"
        self.names[node] = name
        if mask:
            self.masks.add(name)
        elif any(argument in self.active for argument in node.args if isinstance(argument, torch.fx.Node)):
            self.active.add(node)
        self.lines.append(f"const {'I' if mask else 'V'} {name} = {text};")

    def _forward(self, node):
        target, args = node.target, node.args
        if node.op == "call_method" and target == "to":
            return self._let(node, self._number(args[0]))
        if target is operator.getitem:
            return self._read(node, *args)
        if target in _COMPARISONS:
            return self._let(node, f"{self._number(args[0])} {_COMPARISONS[target]} {self._number(args[1])}", mask=True)
        if target in _LOGICAL:
            return self._let(node, f"{self._name(args[0])} {_LOGICAL[target]} {self._name(args[1])}", mask=True)
        if target is torch.logical_not:
            return self._let(node, f"~{self._name(args[0])}", mask=True)
        if target is torch.where:
            return self._let(node, f"{self._name(args[0])} ? {self._number(args[1])} : {self._number(args[2])}")
        a, *rest = [self._number(x) if isinstance(x, torch.fx.Node | float | int) else x for x in args]
        match target:
            case operator.mul | operator.add | operator.sub:
                sign = {operator.mul: "*", operator.add: "+", operator.sub: "-"}[target]
                self._let(node, f"{a} {sign} {rest[0]}")
            case operator.truediv:
                self.lines.append(f"const V r{len(self.names)} = simd::reciprocal({rest[0]});")
                self._let(node, f"{a} * r{len(self.names)}")
            case torch.reciprocal:
                self._let(node, f"simd::reciprocal({a})")
            case torch.exp | torch.log | torch.sqrt:
                self._let(node, f"simd::{target.__name__}({a})")
            case torch.lerp:
                self._let(node, f"{a} + {rest[1]} * ({rest[0]} - {a})")
            case torch.detach:
                self._let(node, a)
                self.active.discard(node)
            case torch_code.clip:
                self._let(node, f"simd::clip({a}, {rest[0]}, {rest[1]})")
            case torch_step.through_plateau:
                self._let(node, a)
            case torch_step.reset:
                self._let(node, f"{self._name(args[1])} ? {rest[1]} : {rest[2]}")
            case _ if target is spike:
                self._let(node, f"simd::indicator<V>({self._name(args[1])})")
            case _:
                raise CodeError(f"{getattr(target, '__name__', target)}")

    def _read(self, node, source, key):
        """A state, an input, or one of the numbers that hold for all steps."""
        match source.name:
            case "state":
                self._let(node, f"x[{self.states.index(key)}]")
                if key not in (torch_step.RESTED, torch_step.COUNT):
                    self.active.add(node)
            case "inputs":
                self._let(node, f"in[{self.inputs.index(key)}]")
                self.active.add(node)
            case "once":
                self.names[node] = f"p[{self.once.setdefault(key, len(self.once))}]"
                if key in self.once_learnt:
                    self.active.add(node)
            case _:
                raise CodeError(source.name)

    def _add(self, node, text):
        """A term of a node's adjoint."""
        if isinstance(node, torch.fx.Node) and node in self.active:
            self.adjoints.setdefault(node, []).append(text)

    def _seen(self, value):
        """A forward value that the adjoint reads."""
        name = self._number(value)
        self.read |= {self._name(value)}
        return name

    def _mask(self, value):
        self.read.add(self._name(value))
        return self._name(value)

    def _backward(self, node, before):
        terms = self.adjoints.get(node)
        if not terms:
            return
        args, target, d = node.args, node.target, f"d_{self.names[node].replace('[', '').replace(']', '')}"
        self.adjoint_lines.append(f"const V {d} = {' + '.join(terms)};")
        wanted = [isinstance(x, torch.fx.Node) and x in self.active for x in args]
        match target:
            case operator.getitem:
                key = (args[0].name, args[1])
                before[key] = f"{before[key]} + {d}" if key in before else d
            case operator.add | operator.sub:
                self._add(args[0], d)
                self._add(args[1], d if target is operator.add else f"(-{d})")
            case operator.mul:
                for mine, other in ((0, 1), (1, 0)):
                    if wanted[mine]:
                        self._add(args[mine], f"{d} * {self._seen(args[other])}")
            case operator.truediv:
                over = f"r{self.names[node][1:]}"
                self.read |= {over, self.names[node]}
                self.adjoint_lines.append(f"const V q{over} = {d} * {over};")
                self._add(args[0], f"q{over}")
                self._add(args[1], f"(-q{over} * {self.names[node]})")
            case torch.reciprocal:
                y = self._seen(node)
                self._add(args[0], f"(-{d} * {y} * {y})")
            case torch.exp:
                self._add(args[0], f"{d} * {self._seen(node)}")
            case torch.log:
                self._add(args[0], f"{d} * simd::reciprocal({self._seen(args[0])})")
            case torch.sqrt:
                self._add(args[0], f"R(0.5) * {d} * simd::reciprocal({self._seen(node)})")
            case torch.lerp:
                start, end, weight = args
                if wanted[0]:
                    self._add(start, f"{d} * (1 - {self._seen(weight)})")
                if wanted[1]:
                    self._add(end, f"{d} * {self._seen(weight)}")
                if wanted[2]:
                    self._add(weight, f"{d} * ({self._seen(end)} - {self._seen(start)})")
            case torch.where:
                for mine, text in ((1, f"{d} : V{{}}"), (2, f"V{{}} : {d}")):
                    if wanted[mine]:
                        self._add(args[mine], f"({self._mask(args[0])} ? {text})")
            case torch_code.clip:
                if any(wanted[1:]):
                    raise CodeError("clip between numbers that are learnt")
                x, low, high = map(self._seen, args)
                self._add(args[0], f"{d} * within({x}, {low}, {high})")
            case torch_step.through_plateau:
                moved, voltage, drive, *numbers = args
                self._add(moved, d)
                self._add(voltage, d)
                if wanted[2]:
                    constants = ", ".join(f"R({x!r})" for x in numbers)
                    self._add(drive, f"{d} * psi<V, R>({self._seen(voltage)}, {self._seen(drive)}, {constants})")
            case torch_step.reset:
                spikes, fired, new, old = args
                self._add(spikes, f"{d} * ({self._seen(new)} - {self._seen(old)})")
                for mine, text in ((2, f"{d} : V{{}}"), (3, f"V{{}} : {d}")):
                    if wanted[mine]:
                        self._add(args[mine], f"({self._mask(fired)} ? {text})")
            case _ if target is spike:
                self._add(args[0], f"{d} * surrogate<V>({self._seen(args[0])}, {self._seen(args[2])})")
            case _ if node.op == "call_method":
                raise CodeError(target)
            case _:
                raise CodeError(f"{getattr(target, '__name__', target)}")


SOURCE = """#include "vector_math.hpp"
using simd::broadcast;

template <class V, class R> SIMD_INLINE V psi(V voltage, V drive, R edge, R middle, R peak, R width) {
    const V away = 1 + simd::absolute<V>(drive - edge) * (1 / width);
    return voltage < middle ? peak * simd::reciprocal<V>(away * away) : V{};
}
template <class V> SIMD_INLINE V surrogate(V x, V slope) {
    const V away = slope * simd::absolute(x) + 1;
    return simd::reciprocal<V>(away * away);
}
// The derivative of clip(x, low, high); torch's is a half where x meets a bound.
template <class V> SIMD_INLINE V within(V x, V low, V high) {
    const V above = x > low ? broadcast<V>(1) : x == low ? broadcast<V>(0.5) : V{};
    return x < high ? above : x == high ? broadcast<V>(0.5) * above : V{};
}
constexpr int STATES = %(states)d, INPUTS = %(inputs)d, NUMBERS = %(numbers)d, LEARNT = %(learnt)d;
constexpr int CHUNK = %(chunk)d, BESIDE = 2;

template <class R> struct Step {
    using V = Register<R>;
    using I = simd::Int<V>;
    struct Saved { %(saved)s };
    static SIMD_INLINE void forward(const V *x, const V *in, const V *p, V *next, V &spikes) {
        %(forward)s
    }
    static SIMD_INLINE void forward_saving(const V *x, const V *in, const V *p, V *next, V &spikes, Saved &saved) {
        %(forward)s
        %(saving)s
    }
    // d: of the states after the step, then of those before it.
    static SIMD_INLINE void adjoint(const Saved &saved, const V *p, V d_spikes, V *d, V *d_in, V *d_p) {
        %(restoring)s
        %(adjoint)s
    }
};

template <class R> struct Run {
    using V = Register<R>;
    const int64_t blocks, time, columns;
    const R *numbers, *starts;
    const R *inputs[INPUTS + 1];
    explicit Run(const int64_t *size, void *const *array)
        : blocks(size[0]), time(size[1]), columns(size[2]), numbers((const R *)array[0]), starts((const R *)array[1]) {
        for (int e = 0; e < INPUTS; e++) inputs[e] = (const R *)array[2 + e];
    }
    int64_t chunks() const { return (time + CHUNK - 1) / CHUNK; }
    int64_t row(int64_t block, int64_t t) const { return (block * time + t) * columns; }
};

// What steps ahead to ask for: rows of one column lie far apart, and nothing else fetches them in time.
constexpr int AHEAD = 8;

// BESIDE registers go through time side by side, since each of them alone waits for its own last result.
template <class R, int BESIDE_> void run_beside(const Run<R> &run, int first, R *spikes, R *kept) {
    using V = Register<R>;
    V p[BESIDE_][NUMBERS + 1];
    for (int r = 0; r < BESIDE_; r++)
        for (int k = 0; k < NUMBERS; k++)
            p[r][k] = Part<R>(run.columns, first + r).load(run.numbers + k * run.columns);
    for (int64_t block = 0; block < run.blocks; block++) {
        V x[BESIDE_][STATES];
        for (int r = 0; r < BESIDE_; r++)
            for (int k = 0; k < STATES; k++)
                x[r][k] = Part<R>(run.columns, first + r).load(run.starts + k * run.columns);
        for (int64_t t = 0; t < run.time; t++) {
            const Part<R> begin(run.columns, first);
            for (int e = 0; e < INPUTS; e++) begin.fetch(run.inputs[e] + run.row(block, t + AHEAD));
            begin.fetch_to_write(spikes + run.row(block, t + AHEAD));
#pragma GCC unroll 4
            for (int r = 0; r < BESIDE_; r++) {
                const Part<R> part(run.columns, first + r);
                if (kept && t %% CHUNK == 0)
                    for (int k = 0; k < STATES; k++)
                        part.store(kept + ((block * run.chunks() + t / CHUNK) * STATES + k) * run.columns, x[r][k]);
                V in[INPUTS + 1], next[STATES], fired;
                for (int e = 0; e < INPUTS; e++) in[e] = part.load(run.inputs[e] + run.row(block, t));
                Step<R>::forward(x[r], in, p[r], next, fired);
                for (int k = 0; k < STATES; k++) x[r][k] = next[k];
                part.store(spikes + run.row(block, t), fired);
            }
        }
    }
}

// size: blocks, time, columns.  array: numbers [NUMBERS, columns], starts [STATES, columns], inputs, each
// [block, time, column]; spikes, of that shape; the states at the start of every chunk of steps,
// [block, chunk, STATES, column], or null.
template <class R> void run_neurons(const int64_t *size, void *const *array) {
    const Run<R> run(size, array);
    R *spikes = (R *)array[2 + INPUTS], *kept = (R *)array[3 + INPUTS];
    const int across = registers<R>(run.columns), even = across - across %% BESIDE;
    for (int first = 0; first < even; first += BESIDE) run_beside<R, BESIDE>(run, first, spikes, kept);
    for (int first = even; first < across; first++) run_beside<R, 1>(run, first, spikes, kept);
}

template <class R, int BESIDE_>
void run_beside_backward(const Run<R> &run, int first, const R *kept, const R *grad, R *const *found) {
    using V = Register<R>;
    typename Step<R>::Saved saved[CHUNK][BESIDE_];
    V p[BESIDE_][NUMBERS + 1], d_p[BESIDE_][LEARNT + 1] = {}, d_starts[BESIDE_][STATES] = {};
    for (int r = 0; r < BESIDE_; r++)
        for (int k = 0; k < NUMBERS; k++)
            p[r][k] = Part<R>(run.columns, first + r).load(run.numbers + k * run.columns);
    const Part<R> begin(run.columns, first);
    for (int64_t block = 0; block < run.blocks; block++) {
        V d[BESIDE_][STATES] = {};
        for (int64_t chunk = run.chunks() - 1; chunk >= 0; chunk--) {
            const int64_t start = chunk * CHUNK, count = std::min<int64_t>(CHUNK, run.time - start);
            V x[BESIDE_][STATES];
            for (int r = 0; r < BESIDE_; r++)
                for (int k = 0; k < STATES; k++)
                    x[r][k] = Part<R>(run.columns, first + r)
                                  .load(kept + ((block * run.chunks() + chunk) * STATES + k) * run.columns);
            for (int64_t t = 0; t < count; t++) {
                begin.fetch(grad + run.row(block, start + t));
                for (int e = 0; e < INPUTS; e++) {
                    begin.fetch_to_write(found[e] + run.row(block, start + t));
                    begin.fetch(run.inputs[e] + run.row(block, start + t - CHUNK));
                }
#pragma GCC unroll 4
                for (int r = 0; r < BESIDE_; r++) {
                    const Part<R> part(run.columns, first + r);
                    V in[INPUTS + 1], next[STATES], fired;
                    for (int e = 0; e < INPUTS; e++) in[e] = part.load(run.inputs[e] + run.row(block, start + t));
                    Step<R>::forward_saving(x[r], in, p[r], next, fired, saved[t][r]);
                    for (int k = 0; k < STATES; k++) x[r][k] = next[k];
                }
            }
            for (int64_t t = count - 1; t >= 0; t--)
#pragma GCC unroll 4
                for (int r = 0; r < BESIDE_; r++) {
                    const Part<R> part(run.columns, first + r);
                    V d_in[INPUTS + 1];
                    const V d_spikes = part.load(grad + run.row(block, start + t));
                    Step<R>::adjoint(saved[t][r], p[r], d_spikes, d[r], d_in, d_p[r]);
                    for (int e = 0; e < INPUTS; e++) part.store(found[e] + run.row(block, start + t), d_in[e]);
                }
        }
        for (int r = 0; r < BESIDE_; r++)
            for (int k = 0; k < STATES; k++) d_starts[r][k] += d[r][k];
    }
    for (int r = 0; r < BESIDE_; r++) {
        const Part<R> part(run.columns, first + r);
        for (int k = 0; k < LEARNT; k++) part.store(found[INPUTS] + k * run.columns, d_p[r][k]);
        for (int k = 0; k < STATES; k++) part.store(found[INPUTS + 1] + k * run.columns, d_starts[r][k]);
    }
}

// size: as before.  array: numbers, starts and inputs as before; the states kept; gradients of the spikes; then what is
// found: gradients of each input, of the LEARNT numbers [LEARNT, columns] and of the starts [STATES, columns].
// A chunk is taken forward again, so that all that its adjoint needs lies in the first cache.
template <class R> void run_neurons_backward(const int64_t *size, void *const *array) {
    const Run<R> run(size, array);
    const R *kept = (const R *)array[2 + INPUTS], *grad = (const R *)array[3 + INPUTS];
    R *const *found = (R *const *)(array + 4 + INPUTS);
    const int across = registers<R>(run.columns), even = across - across %% BESIDE;
    for (int first = 0; first < even; first += BESIDE) run_beside_backward<R, BESIDE>(run, first, kept, grad, found);
    for (int first = even; first < across; first++) run_beside_backward<R, 1>(run, first, kept, grad, found);
}
EXPORT(run_neurons)
EXPORT(run_neurons_backward)
"""


def source(code):
    """The C++ of a Code; it includes fitting/kernels/lanes.hpp, which must come before it."""
    return SOURCE % {
        "states": len(code.states),
        "chunk": CHUNK,
        "inputs": len(code.inputs),
        "numbers": len(code.numbers),
        "learnt": len(code.learnt),
        "saved": " ".join(f"{kind} {name};" for name, kind in code.saved.items()),
        "saving": " ".join(f"saved.{name} = {name};" for name in code.saved),
        "restoring": "\n        ".join(f"const {kind} {name} = saved.{name};" for name, kind in code.saved.items()),
        "forward": "\n        ".join(code.forward),
        "adjoint": "\n        ".join(code.adjoint),
    }
