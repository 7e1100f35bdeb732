"""Navigation: which letter does a random walker see next?

The data are a world of sims/stimuli/grid_world.py. A batch is walks on training maps, of some segments each: the last
is predicted, those before it fill the model's memory.
Loss: cross-entropy of the letters.
Scores, at the ends of segments: errors at cells that were visited within the last two segments (working memory, `wm`)
and at others (reference memory, `rm`), on training and on novel maps. On novel maps reference memory has nothing to go
by: 1 - 1/letters at best.

Source: "Transformer needs NMDA receptor nonlinearity for long-term memory", section 2 and appendix A.1.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch.nn import functional
from tqdm import tqdm

from fitting.events import respond
from fitting.models.nmda_transformer import Window
from fitting.settings import require
from sims.analysis.place_cells import CONVENTIONS, RateMaps, place_scores
from sims.mistakes import Mistake
from sims.stimuli import grid_world
from sims.streams import stream

_WALKS_AT_ONCE = 256
_SHOWN = 64  # rate maps of the highest scores that figures get


class TaskError(Mistake):
    """Data that cannot serve the task."""


@dataclass(frozen=True)
class Settings:
    """segments: of a walk.  letters: predict all of the last segment, or as published the last of a prefix of it.
    scored_walks: of every kind of map, at whose ends errors are counted.  place_steps: of the walks of rate maps."""

    segments: int = 3
    letters: Literal["all", "last"] = "all"
    scored_walks: int = 2048
    place_steps: int = 100_000

    def __post_init__(self):
        for name, least in (("segments", 1), ("scored_walks", 1), ("place_steps", 1)):
            require(getattr(self, name) >= least, name, getattr(self, name), f"at least {least}")


class Navigation:
    """The task; see the module."""

    Settings = Settings
    model = "nmda_transformer"

    def __init__(self, settings):
        self.settings = settings

    def read(self, paths):
        """The World of a file.  Raises TaskError for several files, WorldError or SealError for a wrong one."""
        if len(paths) != 1:
            raise TaskError(f"--data: found {len(paths)} files, expected one world")
        return grid_world.read(paths[0])

    def sizes(self, data):
        """(actions, letters)."""
        return len(grid_world.ACTIONS), data.letters

    def known(self, data):
        """Settings of a model that follow from the file."""
        return {"segment": data.segment}

    def typical_output(self, data):
        """Logits that say nothing."""
        return torch.zeros(data.letters)

    def batch(self, data, generator, size):
        """Walks on training maps drawn with replacement.  Returns (Window, letters [walk, scored step])."""
        steps, scored = self.settings.segments * data.segment, data.segment
        if self.settings.letters == "last":
            steps, scored = steps - int(generator.integers(data.segment)), 1
        window, _, _ = self.window(data, data.training, size, steps, scored, generator)
        return window, window.letter[:, -scored:]

    def window(self, data, maps, size, steps, scored, random):
        """Walks on some maps, of which the last letters are to be predicted: (Window, map of each, cells)."""
        cells, action = grid_world.walk(data.size, size, steps, random)
        chosen = random.integers(len(maps), size=size)
        letter = maps.reshape(len(maps), -1)[chosen[:, None], cells].astype(np.int64)
        seed = int(random.integers(2**63))
        return Window(torch.from_numpy(action.copy()), torch.from_numpy(letter), scored, seed), chosen, cells

    def loss(self, outputs, targets):
        """Cross-entropy, mean over steps and walks."""
        return functional.cross_entropy(outputs.flatten(0, 1), targets.flatten())

    def validate(self, model, data):
        """The metrics of `evaluate`, on walks of their own."""
        return self._metrics(model, data, "validated")

    def evaluate(self, model, data, show_progress=False):
        """Errors at the ends of segments, on training maps and on novel ones.

        Returns (metrics, predictions). metrics: `loss` on training maps; `rm_error`, `wm_error`, `rm_novel` and
        `wm_novel`, None where there was no such step; and the numbers of steps that they are shares of, `rm_steps`,
        `wm_steps`, `rm_novel_steps`, `wm_novel_steps`. predictions(): arrays for figures, see `place_cells`.
        """
        return self._metrics(model, data, "scored", show_progress), lambda: self.place_cells(model, data, show_progress)

    def _metrics(self, model, data, purpose, show_progress=False):
        """What `evaluate` says; walks of another purpose are other walks."""
        metrics = {}
        for kind, maps, ending in (("training", data.training, "error"), ("novel", data.novel, "novel")):
            loss, wrong, known = self._scored(model, data, f"{purpose} walks on {kind} maps", maps, show_progress)
            if kind == "training":
                metrics["loss"] = loss
            for memory, chosen in (("rm", ~known), ("wm", known)):
                count = int(chosen.sum())
                metrics[f"{memory}_{ending}"] = float(wrong[chosen].mean()) if count else None
                metrics[f"{memory}_{'' if kind == 'training' else 'novel_'}steps"] = count
        return metrics

    def _scored(self, model, data, walks, maps, show_progress):
        """Mean loss, and of each walk whether its last letter was mistaken and whether its cell was visited."""
        model.eval()
        steps, losses, wrong, known = self.settings.segments * data.segment, 0.0, [], []
        starts = range(0, self.settings.scored_walks, _WALKS_AT_ONCE)
        with torch.no_grad():
            for start in tqdm(starts, desc=walks, leave=False, disable=not show_progress):
                size = min(_WALKS_AT_ONCE, self.settings.scored_walks - start)
                random = stream(0, walks, start)
                window, _, cells = self.window(data, maps, size, steps, 1, random)
                outputs, wanted = respond(model, window), window.letter[:, -1:]
                losses += self.loss(outputs, wanted).item() * size
                wrong.append((outputs.argmax(-1) != wanted)[:, 0].numpy())
                known.append(grid_world.visited(cells, data.recent)[:, -1])
        return losses / self.settings.scored_walks, np.concatenate(wrong), np.concatenate(known)

    def place_cells(self, model, data, show_progress=False):
        """Rate maps and place-cell scores of all neurons on the first training map.

        Neurons are those of the feed-forward layers (`ffn`) and the softmax's (`attention`: one for each layer, head
        and place in the sequence), while the letters of walks are predicted, `place_steps` in all.
        Returns, for both conventions of sims/analysis/place_cells.py, KIND_CONVENTION_score [neuron], nan where silent,
        and of the neurons with the highest scores KIND_CONVENTION_map [shown, K, K] and KIND_CONVENTION_shown, theirs.
        """
        model.eval()
        maps, cells_there = {}, data.size**2
        steps, segment = self.settings.segments * data.segment, data.segment
        starts = range(0, self.settings.place_steps, _WALKS_AT_ONCE * segment)
        with torch.no_grad():
            for start in tqdm(starts, desc="rate maps", leave=False, disable=not show_progress):
                size = min(_WALKS_AT_ONCE, -(-(self.settings.place_steps - start) // segment))
                random = stream(0, "walks of rate maps", start)
                window, _, cells = self.window(data, data.training[:1], size, steps, segment, random)
                seen, cell = [], cells[:, -segment:].ravel()
                model(window, seen)
                found = {
                    "attention": torch.cat([weights.permute(0, 2, 1, 3).flatten(2) for weights, _ in seen], 2),
                    "ffn": torch.cat([active for _, active in seen], 2),
                }
                for kind, activation in found.items():
                    maps.setdefault(kind, RateMaps(activation.shape[2], cells_there))
                    maps[kind].add(activation.flatten(0, 1).numpy(), cell)
        arrays = {}
        for kind, gathered in maps.items():
            for convention in CONVENTIONS:
                rates = gathered.rates(convention).reshape(-1, data.size, data.size)
                score = place_scores(rates)
                order = np.argsort(-np.nan_to_num(score, nan=-1), kind="stable")[:_SHOWN]
                name = f"{kind}_{convention}"
                arrays |= {f"{name}_score": score, f"{name}_map": rates[order], f"{name}_shown": score[order]}
        return arrays
