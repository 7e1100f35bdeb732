"""The page itself, a Bokeh document for this machine alone: input and sliders, and beside them what they do."""

import hashlib
import html
from pathlib import Path

import jinja2
from bokeh.layouts import column, row
from bokeh.models import Button, CustomJS, CustomJSTickFormatter, Div, NumericInput, PreText, Select, TextInput
from bokeh.models import Slider as SliderWidget
from bokeh.server.server import Server

from sims import documents
from sims.arrivals import input_events
from sims.explorer import panels, portraits
from sims.explorer.focus import felt, focused, voltages
from sims.explorer.sliders import differences, extension, read, save, sliders
from sims.explorer.traces import Protocol, Rehearsal, Step, Train, scale, steppable
from sims.mistakes import Mistake, RequestError

ADDRESS = "127.0.0.1"
LOOK_ms = 400  # between looks at the file
PAUSE_ms = 10  # in which movements of a slider gather, to be drawn once
WIDTH, NUMBER = 310, 96
NONE = "none"
TRAIN = {"first": "first (ms)", "interval": "every (ms)", "count": "events", "weight": "weight of each"}
STEP = {"value": "to", "onset": "from (ms)", "length": "for (ms)"}
TIME = {"duration": "simulate (ms)", "dt": "time step (ms)"}
POWER = (
    "const x = 10**tick; return x.toPrecision(4).includes('e') ? x.toPrecision(4) : String(Number(x.toPrecision(4)))"
)
LOOK = jinja2.Template("""{% extends base %}{% block postamble %}<style>
body { background: #f4f6f8; font: 14px/1.45 system-ui, sans-serif; color: #263238; }
</style>{% endblock %}""")
CARD = {
    "background": "white",
    "border-radius": "8px",
    "box-shadow": "0 1px 3px #0002",
    "padding": "12px",
    "margin": "8px",
}
ALOFT = {"position": "sticky", "top": "8px", "max-height": "calc(100vh - 42px)", "overflow": "hidden auto"}
ALARM = CARD | {"color": "#b00020", "border-left": "5px solid #b00020", "font-weight": "600"}
QUIET = {"color": "#607d8b", "font-size": "12px"}


class Page:
    """One reader's page of an equation file.

    Its parts carry names, by which a script in the browser finds them: `error`, `slider NAME`, `traces STATE`,
    `nullclines`, `diagram stable`, `here`, `extension`, and those of panels.py.
    """

    def __init__(self, path, document):
        self.path, self.document = path, document
        self.files, self.seen, self.model = [path], None, None
        self.fault, self.waiting = "", False
        self.error = Div(name="error", visible=False, sizing_mode="stretch_width", styles=ALARM)
        self.left = column(width=WIDTH + 28, styles=CARD | ALOFT)
        self.right = column(sizing_mode="stretch_width", styles={"min-width": "520px"})
        document.title, document.template = f"{path.name} – explore", LOOK
        document.add_root(
            column(self.error, row(self.left, self.right, sizing_mode="stretch_width"), sizing_mode="stretch_width")
        )
        self.look()
        document.add_periodic_callback(self.look, LOOK_ms)

    def look(self):
        """Read the file, and those behind it, again if any was saved; a file that is wrong until it is right."""
        now = _digest(self.files)
        if now == self.seen and not self.fault:
            return
        try:
            model, files = read(self.path), documents.sources(self.path)
        except (Mistake, OSError) as mistake:
            self.seen, self.fault = now, str(mistake)
            self._say("")
            return
        self.seen, self.files, self.fault = _digest(files), files, ""
        self._build(model)

    def _say(self, refusal):
        """Show what is wrong with the file, else why the sliders as they stand cannot be shown."""
        text = html.escape(self.fault or refusal)
        if self.fault and self.model:
            text += "<br><small>shown is the file as it was before; it is read again when it is saved</small>"
        self.error.update(text=text, visible=bool(text))

    def _build(self, model):
        """Widgets and figures for a file as it now is; what the reader had set and still exists stays set."""
        positions = {s.name: self._value(s) for s in self.sliders} if self.model else {}
        before = {s.name: s.value for s in self.sliders} if self.model else {}
        inputs = {name: widget.value for name, widget in self.inputs.items()} if self.model else {}
        self.model, self.sliders, self.rehearsal, self.focus = model, sliders(model), Rehearsal(model), None
        self.widgets = {}
        for slider in self.sliders:
            value = positions.get(slider.name, slider.value)
            if value == before.get(slider.name) or not slider.low <= value <= slider.high:
                value = slider.value
            self.widgets[slider.name] = _slider(slider, value)
        self._choices(inputs)
        self.target = TextInput(name="target", title="save as", value=f"my_{self.path.name}", width=WIDTH - 90)
        self.extension = PreText(name="extension", width=WIDTH, styles={"background": "#f4f6f8", "padding": "6px"})
        self.saved = Div(name="saved", width=WIDTH, styles=QUIET)
        keep = Button(name="save", label="save", width=70, align="end")
        keep.on_click(self._save)
        copy = Button(label="copy", width=70)
        copy.js_on_click(CustomJS(args={"it": self.extension}, code="navigator.clipboard.writeText(it.text)"))
        again = Button(name="reset", label="as in the file", width=100)
        again.on_click(self._reset)
        for widget in (*self.widgets.values(), *self.inputs.values(), self.target):
            widget.on_change("value", lambda attribute, old, new: self._soon())
        self.inputs["step of"].on_change("value", lambda attribute, old, new: self._aim())
        groups = {}
        for name, state in model.states.items():
            groups.setdefault(scale(state.dimension)[1], []).append(name)
        self.traces, self.plane, self.diagram = panels.Traces(groups), panels.Plane(), panels.Diagram()
        self.note = Div(name="note", sizing_mode="stretch_width", styles=QUIET)
        self.draw()
        # Last, when all of it is drawn: a browser takes long to change what it already shows.
        self.left.children, self.right.children = self._on_the_left(copy, keep, again), self._on_the_right()

    def _choices(self, kept):
        """The widgets of the input and of what is drawn, by what they set."""
        model, events, names = self.model, input_events(self.model), voltages(self.model)
        train, step, protocol = Train(), Step(), Protocol()
        stepped, driven = steppable(model), [name for name in names if name[:-1] in (*events, "")[0]]
        options = {
            "events of": ([NONE, *events], events[0] if events else NONE),
            "step of": ([NONE, *stepped], NONE if events else stepped[0]),
            "voltage": (names or [NONE], next(iter([*driven, *names]), NONE)),
        }
        self.inputs = {
            title: Select(title=title, options=found, value=kept[title] if kept.get(title) in found else first,
                          width=WIDTH - 10 if title != "voltage" else 150)
            for title, (found, first) in options.items()
        }  # fmt: skip
        for source, titles in ((train, TRAIN), (step, STEP), (protocol, TIME)):
            for name, title in titles.items():
                value = kept.get(name, getattr(source, name))
                self.inputs[name] = NumericInput(title=title, value=value, mode="float", width=NUMBER)
        self.against = Select(title="against", width=150)
        self._offer()
        self.against.on_change("value", lambda attribute, old, new: self._soon())
        if "value" not in kept or self.inputs["step of"].value != kept["step of"]:
            self._aim()

    def _offer(self):
        """The parameters that the chosen voltage's rest may be drawn against."""
        voltage = self.inputs["voltage"].value
        if self.focus is None or voltage != self.focus_on:
            self.focus, self.focus_on = focused(self.model, voltage) if voltage != NONE else None, voltage
        options = [name for name in felt(self.focus) if name in self.widgets] if self.focus else []
        first = [name for name in options if name == "w" or name.endswith("_w")] or [
            name for name in steppable(self.model) if name in options
        ]
        value = self.against.value if self.against.value in options else (first or [NONE])[0]
        self.against.update(options=options or [NONE], value=value)

    def _aim(self):
        """A step goes half the way from the slider to its end."""
        slider = next((s for s in self.sliders if s.name == self.inputs["step of"].value), None)
        if slider:
            value = self._value(slider)
            self.inputs["value"].update(
                value=slider.rounded(value + (slider.high - value) / 2),
                title=f"to ({slider.unit})" if slider.unit else "to",
            )

    def _on_the_left(self, copy, keep, again):
        given, described = self.inputs, {slider.name: slider.description for slider in self.sliders}
        name, description = html.escape(self.path.name), html.escape(self.model.description)
        return [
            Div(text=f"<b style='font-size:20px'>{name}</b><br>{description}", width=WIDTH),
            _heading("input"),
            given["events of"],
            _row(given, TRAIN, 2),
            given["step of"],
            _row(given, STEP, 3),
            _row(given, TIME, 2),
            _heading("parameters"),
            again,
            *(part for name, widget in self.widgets.items() for part in _described(widget, described[name])),
            _heading("as a file of its own"),
            self.extension,
            copy,
            row(self.target, keep),
            self.saved,
        ]

    def _on_the_right(self):
        several = [self.inputs["voltage"]] if len(voltages(self.model)) > 1 else []
        portraits = [row(*several, self.against), row(self.plane.plot, self.diagram.plot, sizing_mode="stretch_width")]
        return [
            column(*self.traces.plots, sizing_mode="stretch_width", styles=CARD),
            column(*portraits, self.note, sizing_mode="stretch_width", styles=CARD),
        ]

    def _value(self, slider):
        return slider.at(self.widgets[slider.name].value)

    def _soon(self):
        """Draw shortly, once for all that changes until then."""
        if not self.waiting:
            self.waiting = True
            self.document.add_timeout_callback(self.draw, PAUSE_ms)

    def draw(self):
        """Everything anew, for the sliders as they stand; what cannot be drawn says why."""
        self.waiting = False
        values = {slider.name: self._value(slider) for slider in self.sliders}
        self.extension.text = extension(self.path, self.target.value, self.sliders, values)
        moved = differences(self.sliders, values)
        try:
            start = self._draw_traces(moved)
        except Mistake as mistake:
            self._say(str(mistake))
            return
        self._say("")
        self._draw_rest(moved, start)

    def _draw_traces(self, moved):
        """Returns where the states start, {state: as shown}."""
        given = {name: widget.value for name, widget in self.inputs.items()}
        train = Train(_chosen(given["events of"]), **{name: given[name] for name in TRAIN})
        step = Step(_chosen(given["step of"]), **{name: given[name] for name in STEP})
        protocol = Protocol(train, step, **{name: given[name] for name in TIME})
        found, spikes = self.rehearsal.run(protocol, moved, {slider.name: slider.size for slider in self.sliders})
        self.traces.show(found, spikes, protocol)
        return {name: trace[0] for name, trace in found.items()}

    def _draw_rest(self, moved, start):
        """Nullclines and diagram of the chosen voltage, the others held where they start."""
        self._offer()
        voltage, notes = self.inputs["voltage"].value, []
        if self.focus is None:
            self.note.text = "no state is named v: there are no nullclines and no fixed points to draw"
            return
        held = {name: start[name] / 1e3 for name in voltages(self.model) if name != voltage}
        given = moved | held
        model = self.focus.with_values({name: given[name] for name in given if name in self.focus.parameters})
        try:
            found = portraits.nullclines(model)
            notes += [f"{v:.2f} mV {'stable' if stable else 'unstable'}" for v, _, stable in found.points]
        except Mistake as mistake:
            found, notes = None, [str(mistake)]
        self.plane.show(found, voltage)
        slider = next(slider for slider in self.sliders if slider.name == self.against.value)
        try:
            curve = portraits.diagram(model, slider)
            notes.append(curve.condition)
        except Mistake as mistake:
            curve = None
            notes.append(str(mistake))
        self.diagram.show(curve, voltage, slider.title.replace(slider.name, curve.label if curve else slider.name, 1))
        if held:
            notes.append(f"{', '.join(held)} held where the traces start")
        self.note.text = " · ".join(map(html.escape, notes))

    def _reset(self):
        for slider in self.sliders:
            self.widgets[slider.name].value = slider.position(slider.value)

    def _save(self):
        try:
            save(self.target.value, self.extension.text)
            self.saved.text = f"saved; <code>python -m sims check {html.escape(self.target.value)}</code>"
        except RequestError as error:
            self.saved.text = html.escape(str(error))


def _slider(slider, value):
    low, high = slider.ends
    shown = CustomJSTickFormatter(code=POWER) if slider.logarithmic else "0[.]0000"
    return SliderWidget(
        name=f"slider {slider.name}", title=slider.title, start=low, end=high, value=slider.position(value),
        step=slider.step, format=shown, width=WIDTH - 10, bar_color="#90caf9", margin=(8, 5, 0, 5),
    )  # fmt: skip


def _described(widget, description):
    yield widget
    if description:
        yield Div(text=html.escape(description), width=WIDTH - 10, styles=QUIET, margin=(0, 5, 0, 5))


def _heading(text):
    return Div(text=f"<b style='color:#607d8b'>{text}</b>", margin=(14, 5, 0, 5))


def _row(widgets, titles, across):
    width = (WIDTH - 10 * across) // across
    for name in titles:
        widgets[name].width = width
    names = list(titles)
    return column(*(row(*(widgets[name] for name in names[k : k + across])) for k in range(0, len(names), across)))


def _chosen(name):
    return "" if name == NONE else name


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
    read(path)
    try:
        return Server({"/": lambda document: Page(path, document)}, address=ADDRESS, port=port)
    except OSError as error:
        raise RequestError(f"--port: found {port}, which cannot be used ({error.strerror})") from None
