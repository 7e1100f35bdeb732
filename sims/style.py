"""How every figure looks, and how it is saved."""

from pathlib import Path

import matplotlib

matplotlib.use("Agg")

from matplotlib import pyplot as plt  # noqa: E402

# Okabe & Ito's colours, told apart with every common colour vision.
BLACK, ORANGE, SKY, GREEN, BLUE, VERMILLION, PURPLE = (
    "#000000",
    "#E69F00",
    "#56B4E9",
    "#009E73",
    "#0072B2",
    "#D55E00",
    "#CC79A7",
)
GREY = "#767676"
CYCLE = (BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY)
WIDTH = 7.0  # inches, two columns of a journal

plt.rcParams.update(
    {
        "font.size": 9,
        "axes.titlesize": 9,
        "axes.titlelocation": "right",
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.linewidth": 0.8,
        "legend.frameon": False,
        "legend.fontsize": 8,
        "lines.linewidth": 1.2,
        "figure.constrained_layout.use": True,
        "savefig.facecolor": "white",
        "savefig.dpi": 200,
        # The same data draw the same bytes.
        "svg.hashsalt": "dendritic-memory",
    }
)


def colours(count):
    """One colour for each of `count` models: distinct hues, or an ordered scale where there are more than hues."""
    return CYCLE[:count] if count <= len(CYCLE) else plt.colormaps["viridis"].resampled(count + 1).colors[:count]


def save(figure, stem):
    """Write stem.svg and stem.png."""
    Path(stem).parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(f"{stem}.svg", metadata={"Date": None})
    figure.savefig(f"{stem}.png")
    plt.close(figure)
