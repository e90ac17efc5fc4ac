"""The table of a network's layers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .inputs import InputType
from .layers import Layer
from .tables import table

__all__ = ["summary_table"]


def summary_table(layers: Sequence[Layer], inputs: Sequence[InputType], outputs: Sequence[InputType]) -> str:
    """Return one row for each layer: name, type, shape of input and output, number of parameters, and their sum."""
    rows, total = [], 0
    for index, layer in enumerate(layers):
        counts = {spec.name: int(np.prod(spec.shape)) for spec in layer.param_specs(inputs[index])}
        total += sum(counts.values())
        rows.append(
            [
                f"{index} {layer.name or ''}".rstrip(),
                type(layer).__name__,
                _shape(inputs[index]),
                _shape(outputs[index]),
                f"{sum(counts.values()):,}",
                ", ".join(f"{name}: {count:,}" for name, count in counts.items()) or "-",
            ]
        )
    columns = ["Layer", "Type", "Input", "Output", "Parameters", "of which"]
    return "\n".join([*table(columns, rows, text_columns=(0, 1, 2, 3, 5)), f"Total parameters: {total:,}"])


def _shape(input_type: InputType) -> str:
    extents = ("time" if extent is None else str(extent) for extent in input_type.example_shape())
    return f"(batch, {', '.join(extents)})"
