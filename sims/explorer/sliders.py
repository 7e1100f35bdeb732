"""What can be set of an equation file, in the units in which it is written, and the file that would set it so."""

from dataclasses import dataclass

from sims.analysis.bifurcation import written_unit

STEPS = 400  # of a slider from end to end


@dataclass(frozen=True)
class Slider:
    """A parameter that a person can move: value, low, high and step in `unit`, of which one is `size` in SI."""

    name: str
    value: float
    low: float
    high: float
    unit: str
    size: float
    description: str

    @property
    def step(self):
        return (self.high - self.low) / STEPS

    @property
    def title(self):
        return f"{self.name} ({self.unit})" if self.unit else self.name

    def text(self, value):
        """A value as an equation file writes it."""
        number = f"{value:.6g}"
        return (
            number + self.unit.removeprefix("1")
            if self.unit.startswith("1/")
            else number + f"*{self.unit}" * bool(self.unit)
        )


def sliders(model):
    """A Slider for each parameter of a Model.

    It goes along the bounds, widened to hold the value; or from 0 to twice the value, or from -1 to 1 where that is 0.
    """
    return [_slider(parameter) for parameter in model.parameters.values()]


def _slider(parameter):
    size, unit = written_unit(parameter)

    def written(quantity):
        return float(f"{quantity.si / size:.12g}")  # as in the file, without the rounding of two conversions

    value = written(parameter.value)
    if parameter.bounds:
        ends = [written(bound) for bound in parameter.bounds]
    else:
        ends = [0.0, 2 * value] if value else [-1.0, 1.0]
    return Slider(parameter.name, value, min(*ends, value), max(*ends, value), unit, size, parameter.description)


def moved(given, values):
    """The Sliders that stand elsewhere than in the file; values: {name: where they stand, in their units}."""
    return [slider for slider in given if abs(values[slider.name] - slider.value) > 1e-9 * (slider.high - slider.low)]


def changed(model, given, values):
    """The Model with the sliders' values, {name: number in the slider's unit}."""
    return model.with_values({slider.name: values[slider.name] * slider.size for slider in moved(given, values)})


def extension(path, given, values):
    """The text of an equation file that extends `path` and sets what was moved."""
    lines = [f"extends: {path}"]
    if there := moved(given, values):
        lines += ["parameters:", *(f"  {slider.name}: {slider.text(values[slider.name])}" for slider in there)]
    return "\n".join(lines) + "\n"
