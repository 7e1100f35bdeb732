"""The registry of models.

A model is a torch module, built as `Model(settings, num_input, num_output)` from an instance of its own frozen
dataclass `Model.Settings`, that maps [batch, time, num_input] to [batch, time, num_output] causally, and knows how many
operations one step of inference takes on a dense input as its equations stand (`flops_per_step`; a multiplication and
an addition count one each). It may say that it takes such input as Events too (`takes_events`), how many of its
trainable parameters can never influence the output (`dead_parameters`) and what its paper prints for the same settings
(`printed_count`), take its first weights from the training data (`start(data)`, as the task reads it), and name the one
task that it can learn (`task`).
"""

from fitting.models.delay_network import DelayNetwork
from fitting.models.elm import ELM, BranchELM
from fitting.models.equation_neuron import EquationNeuron
from fitting.models.lif import ALIF, LIF
from fitting.models.lstm import LSTM, ChronoLSTM
from fitting.models.nmda_transformer import NMDATransformer
from fitting.models.spiking import LIFNetwork, LinearNMDANetwork, NMDANetwork
from fitting.models.tcn import TCN
from fitting.settings import SettingError

MODELS = {
    "elm": ELM,
    "branch_elm": BranchELM,
    "lstm": LSTM,
    "chrono_lstm": ChronoLSTM,
    "tcn": TCN,
    "lif": LIF,
    "alif": ALIF,
    "equation_neuron": EquationNeuron,
    "delay_network": DelayNetwork,
    "lif_network": LIFNetwork,
    "nmda_network": NMDANetwork,
    "nmda_linear_network": LinearNMDANetwork,
    "nmda_transformer": NMDATransformer,
}


def find(name):
    """The model class registered under `name`; raises SettingError where there is none."""
    if name not in list(MODELS):  # what a file says may be no text
        raise SettingError(f"MODEL: found '{name}', expected one of: {', '.join(MODELS)}")
    return MODELS[name]


def parameter_count(model):
    """Trainable parameters of a model, those of them that can influence its output, and the paper's figure.

    Returns {"trainable": int, "live": int, "printed": str or None}; `printed` is what the paper prints, never adjusted
    to match.
    """
    trainable = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    dead = model.dead_parameters() if hasattr(model, "dead_parameters") else 0
    printed = model.printed_count() if hasattr(model, "printed_count") else None
    return {"trainable": trainable, "live": trainable - dead, "printed": printed}
