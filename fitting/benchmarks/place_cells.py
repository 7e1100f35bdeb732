"""The loss at all positions of a segment in one pass, against a pass for each prefix, as published.

Same weights, walks, outputs and sum of gradients; forward and backward pass. The prefixes' memory is made once.
"""

import torch
import typer

from fitting.benchmarks import cpu_ms
from fitting.models.nmda_transformer import NMDATransformer, Settings
from fitting.tasks.navigation import Navigation
from sims.stimuli import grid_world
from sims.streams import stream

SIZES = {
    "default": (dict(segment=16, width=64, heads=4, feed_forward=256, path_width=64), 64),
    "published": (dict(segment=32, width=512, heads=8, feed_forward=2048, path_width=128), 8),
}


def measure(seed):
    """Prints a table.

    Returns `over_per_prefix`, the published procedure's CPU time over ours at the published size of model and segment
    (8 walks), and the same for the default scale's, `default_over_per_prefix`; and of each the milliseconds and the
    largest difference of a gradient, relative to the largest gradient.
    """
    figures = {}
    for name, (sizes, walks) in SIZES.items():
        prefix = "" if name == "published" else f"{name}_"
        figures |= {
            prefix + figure: value for figure, value in _compare(Settings(dropout=0.0, **sizes), walks, seed).items()
        }
    for name, value in figures.items():
        typer.echo(f"{name:<28}{value:>12.4g}")
    return figures


def _compare(settings, walks, seed):
    torch.manual_seed(seed)
    task, world = Navigation(Navigation.Settings()), grid_world.draw(6, 4, 6, settings.segment, seed)
    model = NMDATransformer(settings, *task.sizes(world))
    window, wanted = task.batch(world, stream(seed, "benchmark"), walks)

    def gradient(predict):
        model.zero_grad(set_to_none=True)
        task.loss(predict(window), wanted).backward()
        return torch.cat([parameter.grad.flatten() for parameter in model.parameters()])

    ours, published = gradient(model), gradient(model.by_prefix)
    fast, slow = cpu_ms(lambda: gradient(model), lambda: gradient(model.by_prefix), rounds=3)
    return {
        "over_per_prefix": slow / fast,
        "pass_ms": fast,
        "per_prefix_ms": slow,
        "gradient_difference": ((ours - published).abs().max() / published.abs().max()).item(),
    }
