"""What an imported network trains: which initializers are parameters, running statistics, and constants."""

from dataclasses import dataclass, replace

from .reading import Network

__all__ = ["Roles", "roles_of"]

STATISTICS = (3, 4)  # inputs of BatchNormalization
# Inputs of operators that no gradient flows into.
CONSTANT_INPUTS = {
    "BatchNormalization": STATISTICS,
    "Clip": (1, 2),
    "Dropout": (1, 2),
    "NegativeLogLikelihoodLoss": (2,),
    "OneHot": (1, 2),
    "Pad": (2,),
    "Range": (0, 1, 2),
    "Resize": (1, 2),
    "SoftmaxCrossEntropyLoss": (2,),
    "Upsample": (1,),
}


@dataclass(frozen=True)
class Roles:
    """A network whose statistics are apart from everything else, and the names of its initializers by what they are."""

    network: Network
    parameters: tuple[str, ...]
    buffers: tuple[str, ...]
    constants: tuple[str, ...]


def roles_of(network: Network) -> Roles:
    """Sort the initializers that are used, in the order of the file.

    Parameters are the floats that have axes and enter some operator where a gradient flows.
    """
    network, statistics = _with_own_statistics(network)
    used = {value.name for value in network.outputs}
    trained: set[str] = set()
    for step in network.steps:
        used.update(step.inputs)
        apart = CONSTANT_INPUTS.get(step.op_type, ())
        trained.update(name for i, name in enumerate(step.inputs) if i not in apart)
    parameters, buffers, constants = [], [], []
    for name, array in network.initializers.items():
        if name in statistics:
            buffers.append(name)
        elif name in trained and array.dtype.kind == "f" and array.ndim:
            parameters.append(name)
        elif name in used:
            constants.append(name)
    return Roles(network, tuple(parameters), tuple(buffers), tuple(constants))


def _with_own_statistics(network: Network) -> tuple[Network, set[str]]:
    """The network with initializers of its own for the statistics of each layer, and their names.

    Exporters write equal arrays once: a mean of zeros may be the bias too, or the mean of another layer. A layer that
    is used several times has the same scale, bias, mean and variance each time, and keeps one pair.
    """
    initializers = dict(network.initializers)
    names = set(initializers).union(*(step.outputs for step in network.steps))
    names.update(value.name for value in network.inputs)
    elsewhere = {
        name
        for step in network.steps
        for i, name in enumerate(step.inputs)
        if step.op_type != "BatchNormalization" or i not in STATISTICS
    }
    own: dict[tuple[str, tuple[str, ...]], str] = {}
    taken: set[str] = set()
    steps = []
    for step in network.steps:
        if step.op_type == "BatchNormalization":
            inputs = list(step.inputs)
            for i in STATISTICS:
                key = (inputs[i], step.inputs[1:])
                if inputs[i] not in network.initializers:
                    continue
                if key not in own:
                    own[key] = _free(inputs[i], names) if inputs[i] in taken | elsewhere else inputs[i]
                    initializers[own[key]] = network.initializers[inputs[i]]
                    taken.add(own[key])
                    names.add(own[key])
                inputs[i] = own[key]
            step = replace(step, inputs=tuple(inputs))
        steps.append(step)
    return replace(network, initializers=initializers, steps=tuple(steps)), taken


def _free(name: str, names: set[str]) -> str:
    number = 1
    while f"{name}_{number}" in names:
        number += 1
    return f"{name}_{number}"
