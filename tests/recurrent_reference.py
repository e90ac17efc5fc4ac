"""Truncated backpropagation once more: by loops in NumPy, and by PyTorch's autograd with states that are detached.

Series are (batch, size, time); losses are summed over the steps and divided by the batch. Steps of a piece before its
last ``back`` ones pass nothing back into recurrent layers.
"""

import math

import numpy as np

from minidl.layers import DenseLayer, GravesLSTM, RecurrentLayer, SimpleRnn
from minidl.training import Adam

__all__ = ["LoopedRnn", "TorchSeries", "cuts"]


def cuts(time, forward):
    """Yield the slice of each piece."""
    return [slice(start, min(start + forward, time)) for start in range(0, time, forward)]


class LoopedRnn:
    """SimpleRnn and a softmax at every step, one number of time after the other, trained by gradient descent."""

    def __init__(self, net, rate):
        self.p = {name: view.copy() for name, view in net.param_table().items()}
        self.rate, self.gradients = rate, []

    def fit(self, x, y, forward, back):
        h = np.zeros((len(x), len(self.p["0_RW"])))
        for steps in cuts(x.shape[2], forward):
            gradient, h = self._piece(x[:, :, steps], y[:, :, steps], h, back)
            rate = self.rate(len(self.gradients))
            self.gradients.append(np.concatenate([gradient[name].ravel("F") for name in self.p]) / len(x))
            for name in self.p:
                self.p[name] -= rate * gradient[name] / len(x)

    def params(self):
        return np.concatenate([array.ravel("F") for array in self.p.values()])

    def _piece(self, x, y, start, back):
        p, d = self.p, {name: np.zeros_like(array) for name, array in self.p.items()}
        h, d_h = [start], []
        for t in range(x.shape[2]):
            h.append(np.tanh(x[:, :, t] @ p["0_W"] + h[t] @ p["0_RW"] + p["0_b"]))
            z = h[t + 1] @ p["1_W"] + p["1_b"]
            softmax = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
            d_z = softmax - y[:, :, t]
            d["1_W"] += h[t + 1].T @ d_z
            d["1_b"] += d_z.sum(axis=0)
            d_h.append(d_z @ p["1_W"].T)
        carried = 0
        for t in reversed(range(max(0, x.shape[2] - back), x.shape[2])):
            d_z = (d_h[t] + carried) * (1 - h[t + 1] ** 2)
            d["0_W"] += x[:, :, t].T @ d_z
            d["0_RW"] += h[t].T @ d_z
            d["0_b"] += d_z.sum(axis=0)
            carried = d_z @ p["0_RW"].T
        return d, h[-1]


class TorchSeries:
    """LSTM, GravesLSTM, SimpleRnn and DenseLayer with tanh, and a softmax, on copies of a network's parameters."""

    def __init__(self, torch, net):
        self.torch, self.layers, self.conf = torch, net.layers, net.conf
        self.parameters = {
            name: torch.tensor(view.copy(), requires_grad=True) for name, view in net.param_table().items()
        }
        self.gradients = []
        rule, tensors = net.layers[0].updater, list(self.parameters.values())
        adam = isinstance(rule, Adam)
        self.optimizer = (torch.optim.Adam if adam else torch.optim.SGD)(tensors, lr=rule.learning_rate)

    def fit(self, x, y, *, features_mask=None, labels_mask=None):
        """``labels_mask`` (batch, time) multiplies the losses."""
        seen = np.ones((len(x), x.shape[2])) if features_mask is None else features_mask
        weights = seen if labels_mask is None else labels_mask
        forward, back = self.conf.piece_lengths or (x.shape[2], x.shape[2])
        states = {}
        for steps in cuts(x.shape[2], forward):
            parts = [self.torch.tensor(array[..., steps]) for array in (x, y, seen, weights)]
            self._step(self._loss(*parts, states, back) / len(x))
            states = {index: [part.detach() for part in state] for index, state in states.items()}

    def params(self):
        return self._flat(self.parameters.values())

    def _step(self, loss):
        self.optimizer.zero_grad()
        loss.backward()
        self.gradients.append(self._flat(parameter.grad for parameter in self.parameters.values()))
        for group in self.optimizer.param_groups:
            if "betas" in group:  # DL4J adds epsilon to the root before its correction
                group["eps"] = 1e-8 / math.sqrt(1 - 0.999 ** len(self.gradients))
        self.optimizer.step()

    @staticmethod
    def _flat(tensors):
        return np.concatenate([tensor.detach().numpy().ravel("F") for tensor in tensors])

    def _loss(self, x, y, seen, weights, states, back):
        time, total = x.shape[2], 0.0
        for t in range(time):
            row = x[:, :, t]
            for index, layer in enumerate(self.layers):
                p = {name[2:]: p for name, p in self.parameters.items() if name.startswith(f"{index}_")}
                if isinstance(layer, RecurrentLayer):
                    zeros = [self.torch.zeros(len(x), layer.n_out, dtype=x.dtype)] * 2
                    state = [part * seen[:, t, None] for part in self._cell(layer, p, row, states.get(index, zeros))]
                    states[index] = [part.detach() for part in state] if t < time - back else state
                    row = states[index][0]
                elif isinstance(layer, DenseLayer):
                    row = self.torch.tanh(row @ p["W"] + p["b"])
                else:
                    row = row @ p["W"] + p["b"]
            losses = -(y[:, :, t] * self.torch.log_softmax(row, 1)).sum(1)
            total = total + (losses * weights[:, t]).sum()
        return total

    def _cell(self, layer, p, x, state):
        torch, (h, c), n = self.torch, state, layer.n_out
        if isinstance(layer, SimpleRnn):
            from_x, from_h = x @ p["W"], h @ p["RW"]
            if layer.has_layer_norm:
                from_x, from_h = p["g"][:n] * self._normalized(from_x), p["g"][n:] * self._normalized(from_h)
            return torch.tanh(from_x + from_h + p["b"]), c
        z = x @ p["W"] + h @ p["RW"][:, : 4 * n] + p["b"]
        a, g, o, i = (z[:, k * n : (k + 1) * n] for k in range(4))
        peepholes = p["RW"][:, 4 * n :].T if isinstance(layer, GravesLSTM) else torch.zeros(3, n, dtype=x.dtype)
        g, i = torch.sigmoid(g + peepholes[0] * c), torch.sigmoid(i + peepholes[2] * c)
        c = i * torch.tanh(a) + g * c
        return torch.sigmoid(o + peepholes[1] * c) * torch.tanh(c), c

    def _normalized(self, rows):
        rows = rows - rows.mean(1, keepdim=True)
        variance = (rows**2).mean(1, keepdim=True)
        return rows / self.torch.sqrt(self.torch.where(variance == 0, 1.0, variance))
