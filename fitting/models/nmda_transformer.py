"""A transformer whose feed-forward layers have the NMDA receptor's non-linearity, on walks through a grid of letters.

The token of step i is [x_i, e_i], a letter's embedding beside a code of the path so far:

    h_1 ~ N(0, 1)/√p,    h_{t+1} = tanh(h_t + h_t W_a)    a: the action of the step    e_t = ReLU(W h_t + b)

which is the text's tanh(h_t W_a) with I + W_a for its W_a; W_a starts at zero. Layers are Transformer-XL's with
normalisation first: attention with learnt relative positions, over the segment and over the memory, the same layer's
inputs in the segment before, through which no gradient goes; then W_2 f(W_1 x) without biases, f = NMDA_α.

The letter of a step is predicted from [mask, e_t]. As published, each prefix of a segment is a pass of its own, of
which the last letter counts (`by_prefix`). All positions cost little more than one such pass if there are two streams
(as in XLNet, Yang et al. 2019, arXiv 1906.08237): content tokens, which attend to content at or before them, and
queries, of which that of step t attends to memory, content before t and itself. No token ever sees its own letter or a
later one, so the outputs are those of the prefixes.

Source: "Transformer needs NMDA receptor nonlinearity for long-term memory", equation 1 and appendix A.1; details that
the text leaves open as in its authors' code, kdkyum/transformer_memory_consolidation.
"""

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import nn

from fitting.settings import require
from sims.mistakes import Mistake


class WindowError(Mistake):
    """Walks that a model cannot take."""


@dataclass(frozen=True)
class Settings:
    """alpha: α of NMDA_α.  activation: nmda, or gelu, for which α says nothing.  segment: steps, also of the memory.
    width: of a token, half letter and half path.  path_width: p.  letter_spread: standard deviation of the letters'
    first embeddings."""

    alpha: float = 1.0
    activation: Literal["nmda", "gelu"] = "nmda"
    segment: int = 32
    width: int = 512
    heads: int = 8
    layers: int = 2
    feed_forward: int = 2048
    path_width: int = 128
    letter_spread: float = 1.0
    dropout: float = 0.1

    def __post_init__(self):
        require(0 <= self.alpha < math.inf, "alpha", self.alpha, "a finite number from 0")
        for name in ("segment", "width", "heads", "layers", "feed_forward", "path_width"):
            require(getattr(self, name) >= 1, name, getattr(self, name), "at least 1")
        require(self.width % 2 == 0, "width", self.width, "an even number")
        require(self.width % self.heads == 0, "width", self.width, f"a multiple of the {self.heads} heads")
        require(0 < self.letter_spread < math.inf, "letter_spread", self.letter_spread, "a finite number above 0")
        require(0 <= self.dropout < 1, "dropout", self.dropout, "from 0 to below 1")


class Window(NamedTuple):
    """Walks up to and with the segment whose letters are predicted.

    action: int64 [walk, step], each led to its step.  letter: int64 [walk, step].
    scored: predictions that are wanted, of the last so many steps, all in one segment.  seed: of h_1.
    """

    action: torch.Tensor
    letter: torch.Tensor
    scored: int
    seed: int


class NMDA(nn.Module):
    """NMDA_α(x) = x/(1 + α exp(-x)) = x σ(x - ln α): the identity at α = 0, SiLU at α = 1 (equation 1)."""

    def __init__(self, alpha):
        super().__init__()
        require(0 <= alpha < math.inf, "alpha", alpha, "a finite number from 0")
        self.alpha = alpha

    def forward(self, x):
        """A tensor of any shape."""
        return x * torch.sigmoid(x - math.log(self.alpha)) if self.alpha else x


class Layer(nn.Module):
    """Attention and feed-forward layer, each added to what it is given."""

    def __init__(self, settings):
        super().__init__()
        width, heads, reach = settings.width, settings.heads, 2 * settings.segment
        self.heads, self.head_width = heads, width // heads
        self.attention_norm, self.feed_forward_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query, self.key, self.value, self.out = (nn.Linear(width, width, bias=False) for _ in range(4))
        # By the distance from a token to the one it attends to; names as in Transformer-XL.
        self.r_emb = nn.Parameter(torch.randn(reach, heads, self.head_width) * 0.02)
        self.r_bias = nn.Parameter(torch.zeros(reach, heads))
        self.r_w_bias = nn.Parameter(torch.zeros(heads, self.head_width))
        self.first = nn.Linear(width, settings.feed_forward, bias=False)
        self.second = nn.Linear(settings.feed_forward, width, bias=False)
        self.activation = NMDA(settings.alpha) if settings.activation == "nmda" else nn.GELU()
        self.dropout = nn.Dropout(settings.dropout)

    def forward(self, memory, content, queries, wants_content, seen=None):
        """memory [batch, earlier, width], content [batch, time, width] or less, queries [batch, last so many, width],
        all of one segment and the one before.  seen: a list for what the queries do, (attention [batch, head, query,
        memory + segment + self], activations [batch, query, feed-forward]).

        Returns (content or None, queries).
        """
        earlier, time, asked = memory.shape[1], content.shape[1], queries.shape[1]
        tokens = torch.cat([content, queries], 1) if wants_content else queries
        normal = self.attention_norm(tokens)
        keys = torch.cat([self.attention_norm(memory), self.attention_norm(content), normal[:, -asked:]], 1)
        if not asked:
            keys = keys[:, : earlier + time]
        q, k, v = (
            map_(x).unflatten(-1, (self.heads, self.head_width))
            for map_, x in ((self.query, normal), (self.key, keys), (self.value, keys))
        )
        # The content's last column is that of a query's own token, which content does not see.
        there = earlier + time
        step = torch.arange(time)
        here = torch.cat([step, step[time - asked :]]) if wants_content else step[time - asked :]
        distance = earlier + here[:, None] - torch.arange(there)
        allowed = distance >= 0
        allowed[len(here) - asked :] = distance[len(here) - asked :] > 0
        distance = distance.clamp(min=0)
        biased = q + self.r_w_bias
        scores = torch.einsum("bihd,bjhd->bhij", biased, k[:, :there])
        scores = scores + torch.einsum("bihd,ijhd->bhij", q, self.r_emb[distance])
        scores = scores + self.r_bias[distance].permute(2, 0, 1)
        scores = scores.masked_fill(~allowed, -math.inf)
        if asked:
            own = torch.full((len(tokens), self.heads, len(here), 1), -math.inf, dtype=scores.dtype)
            q_own = q[:, -asked:]
            score = ((q_own + self.r_w_bias) * k[:, there:] + q_own * self.r_emb[0]).sum(-1) + self.r_bias[0]
            own = torch.cat([own[:, :, : len(here) - asked], score.transpose(1, 2)[..., None]], 2)
            scores = torch.cat([scores, own], 3)
        weights = torch.softmax(scores / math.sqrt(self.head_width), -1)
        kept = self.dropout(weights)
        mixed = torch.einsum("bhij,bjhd->bihd", kept[..., :there], v[:, :there])
        if asked:
            addition = kept[:, :, len(here) - asked :, there].transpose(1, 2)[..., None] * v[:, there:]
            mixed = torch.cat([mixed[:, : len(here) - asked], mixed[:, len(here) - asked :] + addition], 1)
        tokens = tokens + self.dropout(self.out(mixed.flatten(2)))
        active = self.activation(self.first(self.feed_forward_norm(tokens)))
        tokens = tokens + self.dropout(self.second(self.dropout(active)))
        if seen is not None and asked:
            seen.append((weights[:, :, -asked:], active[:, -asked:]))
        split = len(here) - asked
        return (tokens[:, :split] if wants_content else None), tokens[:, split:]


class NMDATransformer(nn.Module):
    """See the module. Inputs are Windows, outputs logits of letters [walk, scored step, letter]."""

    Settings = Settings
    task = "navigation"

    def __init__(self, settings, num_input, num_output):
        super().__init__()
        self.settings, self.num_input, self.num_output = settings, num_input, num_output
        half, p = settings.width // 2, settings.path_width
        self.letters = nn.Embedding(num_output + 1, half)  # the last is the mask
        nn.init.normal_(self.letters.weight, std=settings.letter_spread)
        self.moves = nn.Parameter(torch.zeros(p, num_input, p))  # W_a [from, action, to]
        self.path = nn.Linear(p, half)
        self.layers = nn.ModuleList(Layer(settings) for _ in range(settings.layers))
        self.norm = nn.LayerNorm(settings.width)
        self.readout = nn.Linear(settings.width, num_output)
        self.dropout = nn.Dropout(settings.dropout)

    def forward(self, window, seen=None):
        """window: a Window.  seen: a list to which each layer adds what its queries did, see Layer.

        Raises WindowError where walks have unequal shapes, or predictions are wanted of more than a segment.
        """
        codes, memory = self._begun(window)
        return self._predict(window.letter, codes, memory, window.scored, seen)

    def by_prefix(self, window):
        """The same outputs by the published procedure: a pass for each prefix, of which the last letter counts."""
        codes, memory = self._begun(window)
        steps = window.letter.shape[1]
        return torch.cat(
            [self.prefix(window, codes, memory, end) for end in range(steps - window.scored + 1, steps + 1)], 1
        )

    def prefix(self, window, codes, memory, end):
        """One pass of the published procedure, over the segment's steps before `end`: logits [walk, 1, letter].

        codes, memory: as `_begun` gives them.  A single stream: the last token is masked, and attends as every other.
        """
        start = window.letter.shape[1] - codes.shape[1]
        letter = window.letter[:, start:end].clone()
        letter[:, -1] = self.num_output
        tokens = self._embed(letter, codes[:, : end - start])
        for layer, before in zip(self.layers, memory, strict=True):
            tokens, _ = layer(before, tokens, tokens[:, :0], wants_content=True)
        return self.readout(self.norm(tokens[:, -1:]))

    def _begun(self, window):
        """The path's codes [walk, step of the last segment, width/2] and each layer's memory, of the segment before."""
        steps, segment = window.letter.shape[1], self.settings.segment
        last = (steps - 1) // segment * segment
        if window.action.shape != window.letter.shape or not 1 <= window.scored <= steps - last:
            raise WindowError(
                f"walks: found actions {tuple(window.action.shape)}, letters {tuple(window.letter.shape)} and "
                f"{window.scored} to predict, expected one shape, and 1 to {steps - last} of the last segment"
            )
        draw = torch.Generator().manual_seed(window.seed)
        p = self.settings.path_width
        place = torch.randn(len(window.letter), p, generator=draw, dtype=self.moves.dtype) / math.sqrt(p)
        with torch.no_grad():
            memory = [place.new_zeros(len(place), 0, self.settings.width)] * len(self.layers)
            for start in range(0, last, segment):
                codes, place = self._follow(place, window.action[:, start : start + segment])
                content = self._embed(window.letter[:, start : start + segment], codes)
                memory = self._remembered(memory, content)
        codes, _ = self._follow(place, window.action[:, last:])
        return codes, memory

    def _follow(self, place, action):
        """The path's codes over some steps, and the path's state after them."""
        p, found, moves = place.shape[1], [], self.moves.flatten(1)
        for a in action.unbind(1):
            led = (place @ moves).view(len(place), self.num_input, p)
            place = torch.tanh(place + led[torch.arange(len(place)), a])
            found.append(place)
        return torch.relu(self.path(torch.stack(found, 1))), place

    def _embed(self, letter, codes):
        return self.dropout(torch.cat([self.letters(letter), codes], -1))

    def _remembered(self, memory, content):
        """Each layer's inputs in a segment, which are its memory in the next."""
        found = []
        for layer, before in zip(self.layers, memory, strict=True):
            found.append(content)
            if layer is not self.layers[-1]:
                content, _ = layer(before, content, content[:, :0], wants_content=True)
        return found

    def _predict(self, letter, codes, memory, scored, seen):
        time = codes.shape[1]
        content = self._embed(letter[:, -time:], codes)
        masked = torch.full((len(letter), scored), self.num_output)
        queries = self._embed(masked, codes[:, time - scored :])
        for layer, before in zip(self.layers, memory, strict=True):
            content, queries = layer(before, content, queries, layer is not self.layers[-1], seen)
        return self.readout(self.norm(queries))

    def flops_per_step(self):
        """Multiplications and additions of one prediction at the end of a segment, and of the token that it leaves."""
        s = self.settings
        token = 4 * s.width**2 + 2 * s.width * s.feed_forward + 3 * s.width * 2 * s.segment
        path = s.path_width**2 + s.path_width * s.width // 2
        return 2 * (2 * s.layers * token + path + s.width * self.num_output)
