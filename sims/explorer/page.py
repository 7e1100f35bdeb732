"""The page itself: sliders on the left, what they do on the right.  A Bokeh document, served to this machine alone."""

import hashlib
import html
from pathlib import Path

from bokeh.layouts import column, row
from bokeh.models import BoxAnnotation, ColumnDataSource, Div, Legend, NumericInput, PreText, Select, Span
from bokeh.models import Slider as SliderWidget
from bokeh.plotting import figure
from bokeh.server.server import Server

from sims import documents
from sims.explorer import views
from sims.explorer.sliders import changed, extension, sliders
from sims.mistakes import Mistake, RequestError

ADDRESS = "127.0.0.1"
LOOK_ms = 400  # between looks at the file
BLUE, VERMILLION, GREEN, PURPLE, GREY = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#767676"
COLOURS = (BLUE, VERMILLION, GREEN, PURPLE, "#E69F00", "#56B4E9")
WIDTH = 640
TRAIN = {
    "first": "first event (ms)",
    "interval": "interval (ms)",
    "count": "events",
    "weight": "weight of each",
    "duration": "simulate (ms)",
    "dt": "step (ms)",
}


class Page:
    """One reader's page of an equation file.

    Its parts carry names, by which a script in the browser finds them: `error`, `slider NAME`, `traces STATE`,
    `nullclines`, `diagram stable`, `extension`.
    """

    def __init__(self, path, document):
        self.path, self.document = path, document
        self.seen, self.files, self.model = None, [path], None
        self.error = Div(name="error", visible=False, width=300, styles={"color": "#b00020", "font-weight": "600"})
        self.left, self.right = column(width=320), column()
        document.title = f"{path.name} – explore"
        document.add_root(row(column(self.error, self.left), self.right))
        self.look()
        document.add_periodic_callback(self.look, LOOK_ms)

    def look(self):
        """Read the file, and those behind it, again if any was saved."""
        now = _digest(self.files)
        if now == self.seen:
            return
        self.seen = now
        try:
            model = views.read(self.path)
            self.files = documents.sources(self.path)
            self.seen = _digest(self.files)
        except (Mistake, OSError) as mistake:
            self._say(mistake)
            return
        self._build(model)

    def _say(self, mistake):
        self.error.text = html.escape(str(mistake)) if mistake else ""
        self.error.visible = bool(mistake)

    def _build(self, model):
        """Sliders and figures for a file as it now is; what the reader had moved and still exists stays moved."""
        kept = {s.name: self.widgets[s.name].value for s in self.sliders} if self.model else {}
        there = {s.name: s.value for s in self.sliders} if self.model else {}
        self.model, self.sliders = model, sliders(model)
        self.widgets = {}
        for slider in self.sliders:
            value = kept.get(slider.name, slider.value)
            if value == there.get(slider.name) or not slider.low <= value <= slider.high:
                value = slider.value
            self.widgets[slider.name] = SliderWidget(
                name=f"slider {slider.name}", title=slider.title, start=slider.low, end=slider.high, value=value,
                step=slider.step, format="0[.]0000", width=300, show_value=True,
            )  # fmt: skip
        events = views.trains(model)
        self.event = Select(title="input events", options=["none", *events], value=events[0] if events else "none")
        train = views.Train()
        self.train = {
            name: NumericInput(title=title, value=getattr(train, name), mode="float", width=95)
            for name, title in TRAIN.items()
        }
        names = [slider.name for slider in self.sliders]
        self.against = Select(title="bifurcation against", options=names, value="w" if "w" in names else names[0])
        self.extension = PreText(name="extension", width=300)
        for widget in (*self.widgets.values(), *self.train.values(), self.event, self.against):
            widget.on_change("value", lambda attribute, old, new: self.draw())
        inputs = list(self.train.values())
        self.left.children = [
            Div(text=f"<h2>{html.escape(self.path.name)}</h2><p>{html.escape(model.description)}</p>", width=300),
            self.event, row(inputs[:3]), row(inputs[3:]),
            Div(text="<h3>parameters</h3>"), *self.widgets.values(),
            Div(text="<h3>as a file of its own</h3>"), self.extension,
        ]  # fmt: skip
        self._figures()
        self.draw()

    def _figures(self):
        self.sources, plots = {}, []
        groups = {}
        for name, state in self.model.states.items():
            groups.setdefault(views.scale(state.dimension)[1], []).append(name)
        for unit, names in groups.items():
            plot = figure(width=WIDTH, height=190, x_axis_label="time (ms)", y_axis_label=unit or "states")
            plot.add_layout(Legend(label_text_font_size="9px"), "right")
            for name, colour in zip(names, COLOURS * len(names), strict=False):
                source = self.sources[name] = ColumnDataSource({"x": [], "y": []}, name=f"traces {name}")
                plot.line("x", "y", source=source, color=colour, legend_label=name)
            plots.append(plot)
        self.spikes = ColumnDataSource({"x": [], "y": []}, name="spikes")
        plots[0].scatter("x", "y", source=self.spikes, marker="inverted_triangle", color="black")
        self.plane = figure(width=WIDTH // 2, height=300, x_axis_label="v (mV)", title="nullclines")
        self.nullclines = ColumnDataSource({"x": [], "y": [], "color": []}, name="nullclines")
        self.plane.multi_line("x", "y", color="color", source=self.nullclines, line_width=1.5)
        self.plane.add_layout(Span(location=0, dimension="width", line_color=GREY, line_width=0.5))
        self.points = _points(self.plane, "points")
        self.rest = figure(width=WIDTH // 2, height=300, y_axis_label="v at rest (mV)", title="bifurcation")
        self.branches = {
            kind: ColumnDataSource({"x": [], "y": []}, name=f"diagram {kind}") for kind in ("stable", "unstable")
        }
        for source, colour in zip(self.branches.values(), (BLUE, VERMILLION), strict=True):
            self.rest.multi_line("x", "y", source=source, color=colour, line_width=1.5)
        self.folds = _points(self.rest, "folds")
        self.here = Span(dimension="height", line_color=GREY, line_dash="dotted")
        self.rest.add_layout(self.here)
        self.window = BoxAnnotation(fill_color="#56B4E9", fill_alpha=0.15, visible=False)
        self.rest.add_layout(self.window)
        self.note = Div(name="note", width=WIDTH, styles={"color": GREY})
        for plot in (*plots, self.plane, self.rest):
            plot.toolbar.logo, plot.toolbar.autohide = None, True
        self.right.children = [*plots, row(self.plane, self.rest), self.note]

    def draw(self):
        """Everything anew, for the sliders as they stand; what cannot be drawn says why."""
        values = {name: widget.value for name, widget in self.widgets.items()}
        model = changed(self.model, self.sliders, values)
        self.extension.text = extension(self.path, self.sliders, values)
        self._say(None)
        try:
            self._draw_traces(model)
        except Mistake as mistake:
            self._say(mistake)
        self.note.text = ""
        for part in (self._draw_nullclines, self._draw_diagram):
            try:
                part(model)
            except Mistake as mistake:
                self.note.text = html.escape(str(mistake))

    def _draw_traces(self, model):
        given = {name: widget.value for name, widget in self.train.items()}
        if any(value is None or value < 0 for value in given.values()) or not 0 < given["dt"] <= given["duration"]:
            raise RequestError("input events: expected numbers of at least 0, and a step between 0 and the duration")
        event = "" if self.event.value == "none" else self.event.value
        found, spikes = views.traces(model, views.Train(event, **given | {"count": int(given["count"])}))
        time = found.pop("time_ms")
        for name, trace in found.items():
            self.sources[name].data = {"x": time, "y": trace}
        top = max(float(trace.max()) for name, trace in found.items() if name in self.sources)
        self.spikes.data = {"x": spikes, "y": [top] * len(spikes)}

    def _draw_nullclines(self, model):
        for source in (self.nullclines, self.points):
            source.data = {name: [] for name in source.data}
        found = views.nullclines(model)
        self.plane.yaxis.axis_label = found.other or "dv/dt (mV/ms)"
        self.plane.title.text = f"where v (blue) and {found.other} (red) rest" if found.other else "what drives v"
        lines = [*((line, BLUE) for line in found.voltage), *((line, VERMILLION) for line in found.gate)]
        self.nullclines.data = {
            "x": [line[0] for line, _ in lines],
            "y": [line[1] for line, _ in lines],
            "color": [colour for _, colour in lines],
        }
        self.points.data = _filled(found.points)

    def _draw_diagram(self, model):
        for source in (*self.branches.values(), self.folds):
            source.data = {name: [] for name in source.data}
        slider = next(slider for slider in self.sliders if slider.name == self.against.value)
        stable, unstable, folds, here = views.diagram(model, slider.name, slider.size)
        for kind, branches in (("stable", stable), ("unstable", unstable)):
            self.branches[kind].data = {"x": [x for x, _ in branches], "y": [y for _, y in branches]}
        self.folds.data = _filled([(*fold, True) for fold in folds])
        self.here.location = here
        self.rest.xaxis.axis_label = slider.title
        self.window.visible = len(folds) == 2
        if len(folds) == 2:
            self.window.left, self.window.right = sorted(x for x, _ in folds)


def _points(plot, name):
    source = ColumnDataSource({"x": [], "y": [], "fill": []}, name=name)
    plot.scatter("x", "y", source=source, size=7, line_color="black", fill_color="fill")
    return source


def _filled(points):
    return {
        "x": [x for x, _, _ in points],
        "y": [y for _, y, _ in points],
        "fill": ["black" if stable else "white" for _, _, stable in points],
    }


def _digest(files):
    """What the files hold, to be compared; a file that is gone counts too."""
    found = hashlib.sha256()
    for file in files:
        try:
            found.update(Path(file).read_bytes())
        except OSError:
            found.update(b"gone")
    return found.digest()


def server(path, port=0):
    """A Bokeh server of an equation file's page, on 127.0.0.1; port: 0 for any that is free.

    Raises a Mistake where the file is no neuron's, RequestError where the port is taken.
    """
    path = Path(path)
    views.read(path)
    try:
        return Server({"/": lambda document: Page(path, document)}, address=ADDRESS, port=port)
    except OSError as error:
        raise RequestError(f"--port: found {port}, which cannot be used ({error.strerror})") from None
