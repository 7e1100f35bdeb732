"""How near a search without gradients comes to the parameters that made the traces, generation by generation."""

import argparse

import pandas as pd
from matplotlib import pyplot as plt

from workflow.figures import style

WITHIN = 0.02  # what counts as found


def draw(histories):
    """histories: tables of one seed each."""
    figure, axes = plt.subplots(figsize=(style.WIDTH / 2, 2.6))
    for history, colour in zip(histories, style.colours(len(histories)), strict=True):
        axes.plot(history["generation"], history["error"], color=colour)
    axes.axhline(WITHIN, color=style.GREY, lw=0.8, ls="--")
    axes.annotate(f"{100 * WITHIN:g} %", (histories[0]["generation"].iloc[0], WITHIN), color=style.GREY, fontsize=7,
                  xytext=(2, 2), textcoords="offset points")  # fmt: skip
    axes.set(yscale="log", xlabel="generation", ylabel="relative error of the farthest parameter")
    return figure


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("histories", nargs="+", help="…/seedN/history.csv")
    parser.add_argument("--out", required=True, help="path of the figure without its ending")
    arguments = parser.parse_args()
    style.save(draw([pd.read_csv(path) for path in arguments.histories]), arguments.out)


if __name__ == "__main__":
    main()
