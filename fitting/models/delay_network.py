"""A network of spiking neurons that reach one another, and themselves, at every delay of 1 to D steps.

It is run freely from the spikes imposed on it: fitting/kernels/delays.py has the equations, which are those of
sims/delays.py. All weights W [source, delay, target] are learnt, and first they are what the patterns say at once:

    W[i, d - 1, j] = Σ_μ Σ_t I_j(t)/z s_i(t - d),    I(t) = s(t) - β s(t - 1)      Hebb's rule

I is what must arrive for the potential to be 1 in steps with a spike and 0 in others, were contexts orthogonal and c
spikes each. The normaliser z decides the potential that a context of c spikes drives:

    hebbian            z = N D p_A, the mean of c                        1, on the mean
    hebbian_context    z(t) = c(t), of that step                         1
    hebbian_text       z = N D p_A M, as in the source's text            1/M: silence
    hebbian_program    z = p_A M (T - D), as in its program              N D/(M (T - D)): runs away with few patterns
    pseudo_inverse     W = A^T C with (C C^T + λ) A = I                  1, with the overlaps of contexts taken away
    random             W normal, standard deviation θ/100                none

C holds the contexts, one row a step of a pattern; λ is a hundredth of c. Rules that know single contexts leave out the
first D steps, whose contexts are cut and whose spikes are imposed anyway. What margins there are to learn comes next
(fitting/kernels/margin.py), and then whatever a fit does by gradient.

Source: Perrinet 2026, arXiv 2604.14096, but for the normalisers of gain 1, the pseudo-inverse (Personnaz et al. 1986,
doi 10.1103/PhysRevA.34.4217) and margins.
"""

import sys
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import nn
from tqdm import tqdm

from fitting.events import check_input
from fitting.kernels import delays
from fitting.kernels.margin import learn
from fitting.settings import require

_RIDGE, _RESIDUE, _MOST_ITERATIONS = 0.01, 1e-4, 200


@dataclass(frozen=True)
class Settings:
    """D, beta, theta, reset, alpha, most_active: as in equations/delays.yaml, from where a fit to patterns takes them.
    first: weights, see the module.  margin: to learn before anything else, in units of theta; 0 for none.
    margin_rate: of a step.  margin_epochs: at most so many."""

    D: int = 41
    beta: float = 0.7
    theta: float = 0.3
    reset: Literal["subtract", "zero"] = "subtract"
    alpha: float = 15.0
    most_active: float = 0.02
    first: Literal["hebbian", "hebbian_context", "hebbian_text", "hebbian_program", "pseudo_inverse", "random"] = (
        "hebbian"
    )
    margin: float = 0.0
    margin_rate: float = 0.5
    margin_epochs: int = 100

    def __post_init__(self):
        require(self.D >= 1, "D", self.D, "at least 1")
        require(0 < self.beta <= 1, "beta", self.beta, "above 0 and at most 1")
        for name in ("theta", "alpha", "most_active", "margin_rate"):
            require(0 < getattr(self, name) < np.inf, name, getattr(self, name), "a finite number above 0")
        require(0 <= self.margin < np.inf, "margin", self.margin, "a finite number from 0")
        require(self.margin_epochs >= 1, "margin_epochs", self.margin_epochs, "at least 1")


class DelayNetwork(nn.Module):
    """See the module. The outputs are the spikes of the first neurons."""

    Settings = Settings
    task = "recall"

    def __init__(self, settings, num_input, num_output):
        super().__init__()
        require(num_output <= num_input, "number of outputs", num_output, f"at most the {num_input} neurons")
        self.settings, self.num_input, self.num_output = settings, num_input, num_output
        self.weight = nn.Parameter(torch.zeros(num_input, settings.D, num_input))

    def forward(self, imposed):
        """imposed: a tensor [batch, time, num_input], 1 a spike, 0 none, -1 as the neuron's potential says.

        Returns spikes [batch, time, num_output].  Raises InputError where the number of neurons is another or a tensor
        holds what is not finite.
        """
        check_input(imposed, self.num_input)
        spikes = delays.run(self.weight, imposed.transpose(0, 1), self.neuron(imposed.shape[1]))
        return spikes.transpose(0, 1)[..., : self.num_output]

    def neuron(self, steps):
        """The Neuron of trials of so many steps."""
        settings, most = self.settings, int(self.settings.most_active * self.num_input * steps)
        return delays.Neuron(settings.beta, settings.theta, settings.reset == "subtract", settings.alpha, most)

    @torch.no_grad()
    def start(self, data):
        """First weights, and margins.  data: Patterns of fitting/tasks/recall.py."""
        settings = self.settings
        if settings.first == "random":
            self.weight.normal_(std=settings.theta / 100)
        else:
            self.weight.copy_(associate(data, settings, self.weight.dtype))
        if settings.margin:
            bar = tqdm(total=self.num_input, desc="margins", unit="neuron", mininterval=1, file=sys.stderr)
            with bar:
                rule = settings.margin, settings.margin_rate, settings.margin_epochs
                lapses = learn(self.weight, data.events(), self.neuron(1), *rule, bar.update)
            by_epoch = lapses.sum(axis=1)
            print(f"margins: kept at all but {by_epoch[-1]} steps after {np.count_nonzero(by_epoch)} epochs")

    def flops_per_step(self):
        """Additions and multiplications of one step, every weight in use; the network itself visits those of spikes."""
        return 2 * self.weight.numel() + 3 * self.num_input


def associate(data, settings, dtype=torch.float32):
    """Weights that patterns give at once, by the rule settings.first; see the module."""
    (M, steps, n), D, p_A = data.spikes.shape, settings.D, data.network.p_A
    spikes = torch.from_numpy(data.spikes).to(dtype).transpose(0, 1).contiguous()
    spikes = torch.cat([spikes, spikes.new_zeros(D, M, n)])
    target = spikes.clone()
    target[1:] -= settings.beta * spikes[:-1]
    target[steps:] = 0
    match settings.first:
        case "hebbian":
            target /= n * D * p_A
        case "hebbian_context":
            count = spikes.sum(-1, keepdim=True).cumsum(0)
            context = count - torch.cat([torch.zeros_like(count[:D]), count[:-D]])  # of steps t - D + 1 … t
            target[1:] /= context[:-1].clamp(min=1)
            target[:D] = 0
        case "hebbian_text":
            target /= n * D * p_A * M
        case "hebbian_program":
            target /= p_A * M * (steps - D)
        case "pseudo_inverse":
            target = _solve(spikes, target, D, _RIDGE * n * D * p_A)
    return delays.gather(spikes, target, D)


def _solve(spikes, target, D, ridge):
    """A with (C C^T + ridge) A = target, [step, trial, neuron], over the steps from D on: conjugate gradients, each
    neuron its own. C^T A is `gather`, C W what arrives, so no step costs more than the spikes there are."""

    def apply(x):
        product = delays.arriving(delays.gather(spikes, x, D), spikes) + ridge * x
        product[:D] = product[-D:] = 0
        return product

    def square(x):
        return x.square().sum((0, 1))

    residue = target.clone()
    residue[:D] = 0
    found, direction, left = torch.zeros_like(target), residue.clone(), square(residue)
    enough = _RESIDUE**2 * left
    for _ in range(_MOST_ITERATIONS):
        if (left <= enough).all():
            break
        product = apply(direction)
        step = left / (direction * product).sum((0, 1)).clamp(min=torch.finfo(left.dtype).tiny)
        found += step * direction
        residue -= step * product
        before, left = left, square(residue)
        direction = residue + left / before.clamp(min=torch.finfo(left.dtype).tiny) * direction
    return found
