"""A population's lineages: each member's validation loss from round to round, joined to that of its parent."""

import argparse

import pandas as pd
from matplotlib import pyplot as plt

from workflow.figures import style

NUMBERS = ("learning_rate", "scale", "slope", "tonic", "penalty")


def ancestors(table):
    """{(round, member)} of the last round's best member and of all it descends from."""
    last = table[table["round"] == table["round"].max()]
    member, found = int(last.loc[last["valid_loss"].idxmin(), "member"]), set()
    by_place = table.set_index(["round", "member"])["parent"]
    for number in range(int(table["round"].max()), -1, -1):
        found.add((number, member))
        member = int(by_place[number, member])
    return found


def draw(table):
    """table: lineages.csv of a population."""
    figure, (losses, numbers) = plt.subplots(1, 2, figsize=(style.WIDTH, 2.8))
    place, kept = table.set_index(["round", "member"]), ancestors(table)
    for (number, member), row in place.iterrows():
        descends = (number, member) in kept
        look = {"color": style.VERMILLION if descends else style.GREY, "lw": 1.4 if descends else 0.5}
        losses.plot(row["step"], row["valid_loss"], "o", ms=2 + descends, color=look["color"], zorder=2 + descends)
        if number:
            before = place.loc[number - 1, int(row["parent"])]
            losses.plot([before["step"], row["step"]], [before["valid_loss"], row["valid_loss"]], **look)
    losses.set(xlabel="step", ylabel="validation loss", title="red: ancestors of the best")
    best = sorted(kept)
    for name, colour in zip(NUMBERS, style.colours(len(NUMBERS)), strict=True):
        values = [place.loc[key, name] for key in best]
        numbers.plot([place.loc[key, "step"] for key in best], [v / values[0] for v in values], "o-", ms=2, lw=1,
                     color=colour, label=name.replace("_", " "))  # fmt: skip
    numbers.set(xlabel="step", ylabel="relative to its first", title="numbers of the ancestors", yscale="log")
    numbers.legend(fontsize=6)
    return figure


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("lineages", help="lineages.csv of a population")
    parser.add_argument("--out", required=True, help="path of the figure without its ending")
    arguments = parser.parse_args()
    style.save(draw(pd.read_csv(arguments.lineages)), arguments.out)


if __name__ == "__main__":
    main()
