"""The figures of the page, each a panel that takes plain arrays and shows them."""

import numpy as np
from bokeh.models import BoxAnnotation, ColumnDataSource, HoverTool, Legend, LegendItem, Range1d, Span
from bokeh.plotting import figure

BLUE, VERMILLION, GREEN, PURPLE, GREY = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#767676"
COLOURS = (BLUE, VERMILLION, GREEN, PURPLE, "#E69F00", "#56B4E9", "#8C6D31", "#000000")
SHADE = {"fill_color": "#56B4E9", "fill_alpha": 0.15, "line_alpha": 0}
TRACE_HEIGHT, LESSER_HEIGHT, INPUT_HEIGHT, PLANE_HEIGHT = 230, 170, 90, 330


def _figure(height, **options):
    tools = "pan,box_zoom,wheel_zoom,reset,save"
    found = figure(height=height, sizing_mode="stretch_width", tools=tools, active_drag="box_zoom", **options)
    found.toolbar.logo, found.toolbar.autohide = None, True
    found.border_fill_color = found.background_fill_color = "white"
    found.outline_line_color, found.grid.grid_line_color = None, "#eceff1"
    for axis in found.axis:
        axis.axis_line_color = axis.major_tick_line_color = "#b0bec5"
        axis.minor_tick_line_color = None
        axis.axis_label_text_font_style = "normal"
        axis.axis_label_text_color = axis.major_label_text_color = "#37474f"
    found.title.text_font_size, found.title.text_color = "13px", "#37474f"
    return found


def _source(name, *columns):
    return ColumnDataSource({column: [] for column in columns}, name=name)


def _points(plot, name):
    source = _source(name, "x", "y", "fill")
    plot.scatter("x", "y", source=source, size=8, line_color="black", fill_color="fill")
    return source


def _filled(points):
    return {
        "x": [x for x, _, _ in points],
        "y": [y for _, y, _ in points],
        "fill": ["black" if stable else "white" for _, _, stable in points],
    }


class Traces:
    """States against time, those of one unit together, and the input below them.

    groups: {unit: [state, …]}.  Sources are named `traces STATE`, `spikes` and `input`.
    """

    def __init__(self, groups):
        self.sources, self.plots = {}, []
        self.time = Range1d(0, 1000)
        for unit, names in groups.items():
            what = names[0] if len(names) == 1 else "voltages" if unit == "mV" else "other states"
            height = TRACE_HEIGHT if not self.plots else LESSER_HEIGHT
            plot = _figure(height, x_range=self.time, y_axis_label=f"{what} ({unit})" if unit else what)
            plot.xaxis.major_label_text_font_size = "0px"  # the strip of the input, below, has the numbers
            lines = []
            for name, colour in zip(names, COLOURS * len(names), strict=False):
                source = self.sources[name] = _source(f"traces {name}", "x", "y")
                line = plot.line("x", "y", source=source, color=colour, line_width=1.6)
                tip = [(name, f"@y{{0.000}} {unit}"), ("time", "@x{0.0} ms")]
                plot.add_tools(HoverTool(renderers=[line], tooltips=tip, line_policy="nearest", visible=False))
                lines.append(LegendItem(label=name, renderers=[line]))
            if len(names) > 1:
                legend = Legend(items=lines, click_policy="hide", label_text_font_size="11px", spacing=0)
                legend.border_line_color = None
                plot.add_layout(legend, "right")
            self.plots.append(plot)
        self.spikes = _source("spikes", "x", "y")
        self.plots[0].scatter("x", "y", source=self.spikes, marker="inverted_triangle", size=7, color="black")
        self.input = _source("input", "x")
        strip = _figure(
            INPUT_HEIGHT, x_range=self.time, y_range=Range1d(0, 1), x_axis_label="time (ms)", y_axis_label="input"
        )
        strip.yaxis.ticker, strip.ygrid.visible = [], False
        strip.segment("x", 0, "x", 0.8, source=self.input, color="#37474f", line_width=1.2)
        self.pulse = BoxAnnotation(**SHADE, visible=False)
        strip.add_layout(self.pulse)
        self.plots.append(strip)

    def show(self, found, spikes, protocol):
        """found, spikes: as of Rehearsal.run.  protocol: what it was given."""
        time = found["time_ms"]
        for name, source in self.sources.items():
            source.data = {"x": time, "y": found[name]}
        top = float(np.max(found[next(iter(self.sources))]))
        self.spikes.data = {"x": spikes, "y": np.full(len(spikes), top)}
        self.time.update(start=0, end=protocol.duration)
        self.input.data = {"x": protocol.train.times}
        step = protocol.step
        self.pulse.update(visible=bool(step.parameter), left=step.onset, right=step.onset + step.length)


class Plane:
    """Nullclines and fixed points; sources are named `nullclines` and `points`."""

    def __init__(self):
        self.plot = _figure(PLANE_HEIGHT, title="where single states rest")
        self.lines = _source("nullclines", "x", "y", "color")
        self.plot.multi_line("x", "y", color="color", source=self.lines, line_width=1.8)
        self.plot.add_layout(Span(location=0, dimension="width", line_color="#b0bec5", line_width=0.8))
        self.points = _points(self.plot, "points")

    def show(self, found, voltage):
        """found: Nullclines, or None to show nothing.  voltage: the name of the axis."""
        self.plot.xaxis.axis_label = f"{voltage} (mV)"
        if found is None:
            self.lines.data = {"x": [], "y": [], "color": []}
            self.points.data = _filled([])
            return
        self.plot.yaxis.axis_label = found.other or f"d{voltage}/dt (mV/ms)"
        self.plot.title.text = (
            f"nullclines: {voltage} (blue), {found.other} (red)" if found.other else f"what drives {voltage}"
        )
        lines = [*((line, BLUE) for line in found.voltage), *((line, VERMILLION) for line in found.gate)]
        self.lines.data = {
            "x": [x for (x, _), _ in lines],
            "y": [y for (_, y), _ in lines],
            "color": [colour for _, colour in lines],
        }
        self.points.data = _filled(found.points)


class Diagram:
    """Fixed points against a parameter; sources are named `diagram stable`, `diagram unstable` and `folds`."""

    def __init__(self):
        self.plot = _figure(PLANE_HEIGHT, title="bifurcation: stable (blue), unstable (red)")
        self.branches = {kind: _source(f"diagram {kind}", "x", "y") for kind in ("stable", "unstable")}
        for source, colour, dash in zip(self.branches.values(), (BLUE, VERMILLION), ("solid", "dashed"), strict=True):
            self.plot.multi_line("x", "y", source=source, color=colour, line_width=1.8, line_dash=dash)
        self.folds = _points(self.plot, "folds")
        self.here = Span(name="here", dimension="height", line_color=GREY, line_dash="dotted", line_width=1.5)
        self.windows = _source("windows", "low", "high")
        self.plot.vstrip(x0="low", x1="high", source=self.windows, **SHADE)
        self.plot.add_layout(self.here)

    def show(self, found, voltage, title):
        """found: a Curve, or None to show nothing.  voltage, title: of the axes."""
        self.plot.yaxis.axis_label, self.plot.xaxis.axis_label = f"{voltage} at rest (mV)", title
        for kind, source in self.branches.items():
            branches = getattr(found, kind) if found else []
            source.data = {"x": [x for x, _ in branches], "y": [y for _, y in branches]}
        self.folds.data = _filled([(*fold, True) for fold in found.folds] if found else [])
        self.here.visible = bool(found)
        windows = found.windows if found else []
        self.windows.data = {"low": [low for low, _ in windows], "high": [high for _, high in windows]}
        if found:
            self.here.location = found.here
