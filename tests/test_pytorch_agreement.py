"""Training by minidl and by PyTorch, from the same start on the same data."""

import math

import numpy as np
import pytest

from minidl import InputType, MultiLayerNetwork, NeuralNetConfiguration
from minidl.layers import DenseLayer, OutputLayer
from minidl.training import Adam, Nesterovs, Sgd

STEPS, BATCH, SIZES = 20, 32, (78, 50, 20, 10)
# (activation of the output, loss) -> what PyTorch minimises
OUTPUTS = [("softmax", "mcxent"), ("sigmoid", "xent"), ("identity", "mse"), ("tanh", "mse"), ("softmax", "mse")]
TOLERANCES = {
    ("float64", Sgd): 1e-10,
    ("float64", Nesterovs): 1e-10,
    ("float64", Adam): 1e-10,
    ("float32", Sgd): 2e-6,
    ("float32", Nesterovs): 5e-6,
    ("float32", Adam): 5e-5,
}


def network(hidden, output, loss, updater, dtype):
    *layers, last = (DenseLayer(n_out=size, activation=hidden) for size in SIZES[1:])
    last = OutputLayer(n_out=SIZES[-1], activation=output, loss=loss)
    conf = NeuralNetConfiguration(seed=1, updater=updater, dtype=dtype)
    return MultiLayerNetwork(conf.list(*layers, last, input_type=InputType.feed_forward(SIZES[0]))).init()


def batches(loss, dtype):
    rng = np.random.default_rng(2)
    for _ in range(STEPS):
        features = rng.random((BATCH, SIZES[0]))
        labels = {
            "mcxent": np.eye(SIZES[-1])[rng.integers(0, SIZES[-1], BATCH)],
            "xent": (rng.random((BATCH, SIZES[-1])) < 0.5).astype(float),
            "mse": rng.random((BATCH, SIZES[-1])),
        }[loss]
        yield features.astype(dtype), labels.astype(dtype)


class TorchNetwork:
    """The same network in PyTorch, on copies of the parameters."""

    def __init__(self, torch, net, hidden, output, loss):
        self.torch, self.hidden, self.output, self.loss = torch, hidden, output, loss
        self.parameters = [torch.tensor(view.copy(), requires_grad=True) for view in net.param_table().values()]

    def loss_of(self, features, labels):
        x, y = self.torch.tensor(features), self.torch.tensor(labels)
        for w, b in zip(self.parameters[0:-2:2], self.parameters[1:-2:2], strict=True):
            x = getattr(self.torch, self.hidden)(x @ w + b)
        z, functional = x @ self.parameters[-2] + self.parameters[-1], self.torch.nn.functional
        if self.loss == "mcxent":
            return functional.cross_entropy(z, y)
        if self.loss == "xent":
            return functional.binary_cross_entropy_with_logits(z, y, reduction="sum") / len(x)
        outputs = {"identity": lambda: z, "tanh": z.tanh, "softmax": lambda: z.softmax(1)}
        return functional.mse_loss(outputs[self.output](), y)

    def optimizer(self, updater):
        optim = self.torch.optim
        if isinstance(updater, Adam):
            return optim.Adam(self.parameters, lr=updater.learning_rate)
        momentum = getattr(updater, "momentum", 0)
        return optim.SGD(self.parameters, lr=updater.learning_rate, momentum=momentum, nesterov=momentum > 0)

    def fit(self, updater, data):
        optimizer = self.optimizer(updater)
        for t, (features, labels) in enumerate(data, 1):
            if isinstance(updater, Adam):  # DL4J adds epsilon to the root before its correction
                optimizer.param_groups[0]["eps"] = 1e-8 / math.sqrt(1 - 0.999**t)
            optimizer.zero_grad()
            self.loss_of(features, labels).backward()
            optimizer.step()

    def params(self):
        """Return the parameters as one vector in DL4J's order."""
        return np.concatenate([parameter.detach().numpy().ravel("F") for parameter in self.parameters])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("updater", [Sgd(0.1), Nesterovs(0.05), Adam(1e-3)], ids=lambda rule: type(rule).__name__)
@pytest.mark.parametrize(("output", "loss"), OUTPUTS)
@pytest.mark.parametrize("hidden", ["relu", "tanh"])
def test_parameters_after_20_steps(torch, hidden, output, loss, updater, dtype):
    net = network(hidden, output, loss, updater, dtype)
    theirs = TorchNetwork(torch, net, hidden, output, loss)
    start = net.params.copy()
    for features, labels in batches(loss, dtype):
        net.fit(features, labels)
    theirs.fit(updater, batches(loss, dtype))
    expected = theirs.params()
    difference = np.abs(net.params - expected).max() / np.abs(expected).max()
    assert difference <= TOLERANCES[dtype, type(updater)]
    assert np.abs(net.params - start).max() > 1e-3 * np.abs(start).max()  # it did train
