"""What can be set of an equation file, in the units in which it is written, and the file that would set it so."""

import math
import os
from dataclasses import dataclass
from pathlib import Path

from brian2.units import volt

from sims import documents, equations
from sims.analysis.bifurcation import written_unit
from sims.mistakes import RequestError

FEWEST_STEPS = 200  # of a slider from end to end
DECADES = 2  # from which on a slider goes by factors
VOLTAGES_V = (-0.100, 0.050)  # where a file gives a voltage no bounds


def read(path):
    """The Model of an equation file; raises EquationError where it is wrong, or is of another kind than neuron."""
    kind = documents.read(path).value.get("kind")
    if kind is not None and kind.value != "neuron":
        raise kind.error(f"only neurons can be explored; this file is of the kind {kind.value}")
    return equations.read(path)


@dataclass(frozen=True)
class Slider:
    """A parameter that a person can move: value, low and high in `unit`, of which one is `size` in SI.

    bounded: whether low and high are the file's bounds.
    """

    name: str
    value: float
    low: float
    high: float
    unit: str
    size: float
    description: str = ""
    bounded: bool = True

    @property
    def logarithmic(self):
        """Whether it goes by factors, not by differences: where its ends lie far apart, on one side of 0."""
        return self.low > 0 and self.high >= 10**DECADES * self.low

    @property
    def ends(self):
        """The positions of low and high."""
        return self.position(self.low), self.position(self.high)

    @property
    def step(self):
        """Between positions, a round number."""
        low, high = self.ends
        return 10.0 ** math.floor(math.log10((high - low) / FEWEST_STEPS))

    def position(self, value):
        """Where on the slider a value is: the value itself, or its logarithm to the base 10."""
        return math.log10(value) if self.logarithmic else value

    def at(self, position):
        """The value at a position, rounded; the file's own where the slider has not been moved."""
        if position == self.position(self.value):
            return self.value
        return self.rounded(10**position if self.logarithmic else position)

    def rounded(self, value):
        """A value in as many digits as a file would have."""
        return float(f"{value:.4g}" if self.logarithmic else f"{value:.6g}")

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

    It goes along the bounds, widened to hold the value. Without bounds a voltage goes along VOLTAGES_V, anything else
    from a tenth of its value to twice that, or from -1 to 1 where it is 0.
    """
    return [_slider(parameter) for parameter in model.parameters.values()]


def _slider(parameter):
    size, unit = written_unit(parameter)

    def written(quantity):
        return float(f"{quantity.si / size:.12g}")  # as in the file, without the rounding of two conversions

    value = written(parameter.value)
    if parameter.bounds:
        ends = [written(bound) for bound in parameter.bounds]
    elif parameter.value.dimension is volt.dim:
        ends = [end / size for end in VOLTAGES_V]
    else:
        ends = [value / 10, 2 * value] if value else [-1.0, 1.0]
    low, high = min(*ends, value), max(*ends, value)
    return Slider(parameter.name, value, low, high, unit, size, parameter.description, bool(parameter.bounds))


def moved(given, values):
    """The Sliders that stand elsewhere than in the file; values: {name: where they stand, in their units}."""
    return [slider for slider in given if abs(values[slider.name] - slider.value) > 1e-9 * (slider.high - slider.low)]


def differences(given, values):
    """{parameter: SI} of the sliders that were moved; values: {name: number in the slider's unit}."""
    return {slider.name: values[slider.name] * slider.size for slider in moved(given, values)}


def extension(path, target, given, values):
    """The text of an equation file at `target` that extends `path` and sets what was moved."""
    there = os.path.relpath(Path(path).resolve(), Path(target).resolve().parent)
    lines = [f"extends: {Path(there).as_posix()}"]
    if found := moved(given, values):
        lines += ["parameters:", *(f"  {slider.name}: {slider.text(values[slider.name])}" for slider in found)]
    return "\n".join(lines) + "\n"


def save(target, text):
    """Write an equation file that is not there yet.  Raises RequestError, also where the name is no equation file's."""
    if Path(target).suffix != ".yaml":
        raise RequestError(f"{target}: expected a name that ends in .yaml")
    try:
        with open(target, "x") as file:
            file.write(text)
    except FileExistsError:
        raise RequestError(f"{target}: is there already, and stays as it is; expected a new name") from None
    except OSError as error:
        raise RequestError(f"{target}: cannot be written ({error.strerror})") from None
