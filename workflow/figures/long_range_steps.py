"""Accuracy on validation data while models learn, a panel for each task."""

import argparse

import pandas as pd
from matplotlib import pyplot as plt

from workflow.figures import style


def draw(histories, table):
    """histories: {fit: [history of each seed]}.  table: of workflow.tables.long_range."""
    table = table.drop_duplicates("name").set_index("name")
    tasks = list(dict.fromkeys(table.loc[list(histories), "task"]))
    figure, panels = plt.subplots(1, len(tasks), figsize=(style.WIDTH, 2.6), squeeze=False)
    for panel, task in zip(panels[0], tasks, strict=True):
        names = [name for name in histories if table.loc[name, "task"] == task]
        for name, colour in zip(names, style.colours(len(names)), strict=True):
            for seed, history in enumerate(histories[name]):
                label = table.loc[name, "method"] if not seed else None
                panel.plot(history["step"], history["valid_accuracy"], color=colour, lw=1, label=label)
        panel.axhline(table.loc[names, "chance"].mean(), color=style.GREY, lw=0.7, ls=":")
        panel.set(xlabel="step", title=task)
        panel.legend(fontsize=6)
    panels[0][0].set_ylabel("accuracy, validation")
    return figure


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("histories", nargs="+", help="…/FIT/seedN/history.csv")
    parser.add_argument("--metrics", required=True, help="CSV of workflow.tables.long_range")
    parser.add_argument("--out", required=True, help="path of the figure without its ending")
    arguments = parser.parse_args()
    histories = {
        name: [pd.read_csv(path) for path in paths] for name, paths in style.by_model(arguments.histories).items()
    }
    style.save(draw(histories, pd.read_csv(arguments.metrics)), arguments.out)


if __name__ == "__main__":
    main()
