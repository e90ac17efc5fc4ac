"""Layers around a layer."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from ..errors import ConfigurationError
from ..inputs import InputType
from ..workspaces import ArrayType, LayerWorkspaceMgr
from .base import Array, Layer, ParamSpec
from .preprocessors import InputPreProcessor
from .user_code import is_user_code

__all__ = ["WrapperLayer", "innermost", "sees_whole_series"]


@dataclass
class WrapperLayer(Layer):
    """A layer around another: the other's parameters are its own, and so are the rules they are trained by.

    ``parts`` names the layers inside, each with what the names of its parameters begin with here.
    """

    parts: ClassVar[Mapping[str, str]] = {"layer": ""}

    layer: Layer
    inner: dict[str, Layer] = field(init=False, repr=False, compare=False, default_factory=dict)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.layer, Layer):
            raise ConfigurationError(
                f"{type(self).__name__}: {self.layer!r} is no layer. Give an object of a class derived from Layer, "
                "such as LSTM(n_out=10)."
            )
        if self.layer.is_output_layer:
            raise ConfigurationError(
                f"{type(self).__name__} cannot stand around {type(self.layer).__name__}, which has a loss. Put the "
                "output layer behind it."
            )

    @property
    def independent_examples(self) -> bool:  # type: ignore[override]  # it depends on the layer inside
        """Whether the layer inside looks at one example at a time."""
        return self.layer.independent_examples

    @property
    def takes_indices(self) -> bool:  # type: ignore[override]
        """Whether the layer inside takes indices."""
        return self.layer.takes_indices

    @property
    def makes_mask(self) -> bool:  # type: ignore[override]
        """Whether the layer inside may give a mask where there was none."""
        return self.layer.makes_mask

    def inherit(self) -> None:
        """Take the rules of training that only the layer inside was given."""
        if isinstance(self.layer, WrapperLayer):
            self.layer.inherit()
        for option in dataclasses.fields(Layer):
            if option.init and option.name != "name" and getattr(self, option.name) is None:
                setattr(self, option.name, getattr(self.layer, option.name))

    def inner_type(self, input_type: InputType) -> InputType:
        """Return what the layer inside takes in."""
        return input_type

    def preprocessor_for(self, input_type: InputType) -> InputPreProcessor | None:
        """Return what the layer inside asks for."""
        return self.layer.preprocessor_for(input_type)

    def output_type(self, input_type: InputType) -> InputType:
        """Return that of the layer inside."""
        return self.layer.output_type(self.inner_type(input_type))

    def param_specs(self, input_type: InputType) -> tuple[ParamSpec, ...]:
        """Return the parameters of the layers inside, one layer after the other."""
        specs = self.layer.param_specs(self.inner_type(input_type))
        return tuple(
            dataclasses.replace(spec, name=prefix + spec.name) for prefix in self.parts.values() for spec in specs
        )

    def attach_params(self, params: Mapping[str, Array]) -> None:
        """Take over these arrays, and hand them on to the layers inside."""
        super().attach_params(params)
        self.inner = {}
        for name, prefix in self.parts.items():
            inner = self.inner[name] = copy.copy(self.layer)
            inner.attach_params({key.removeprefix(prefix): p for key, p in params.items() if key.startswith(prefix)})

    def child(self, name: str, workspace_mgr: LayerWorkspaceMgr) -> LayerWorkspaceMgr:
        """Return the manager of a layer inside."""
        return workspace_mgr.child(name, prefix=self.parts[name], user_code=is_user_code(type(self.layer)))

    def activate_inner(
        self, name: str, x: Array, mask: Array | None, *, training: bool, workspace_mgr: LayerWorkspaceMgr
    ) -> Array:
        """Return the activations of a layer inside."""
        child = self.child(name, workspace_mgr)
        child.call.input, child.call.mask = x, mask
        y = self.inner[name].activate(child.handed_input(x), training=training, workspace_mgr=child)
        return child.settle(ArrayType.ACTIVATIONS, y)

    def backprop_inner(self, name: str, epsilon: Array, workspace_mgr: LayerWorkspaceMgr) -> Array | None:
        """Write the gradients of a layer inside and return dL/dx."""
        child = self.child(name, workspace_mgr)
        d_x = self.inner[name].backprop(child.handed(epsilon), workspace_mgr=child)
        return child.settle(ArrayType.ACTIVATION_GRAD, d_x) if child.wants_input_gradient else None

    def propagate_mask(self, mask: Array | None, *, workspace_mgr: LayerWorkspaceMgr) -> Array | None:
        """Return the mask that the layer inside gives."""
        name = next(iter(self.parts))
        return self.inner[name].propagate_mask(mask, workspace_mgr=self.child(name, workspace_mgr))


def innermost(layer: Layer) -> Layer:
    """Return the layer inside all wrappers, which is the layer itself where there are none."""
    while isinstance(layer, WrapperLayer):
        layer = layer.layer
    return layer


def sees_whole_series(layer: Layer) -> bool:
    """Tell whether a layer, or one inside it, needs series from start to end."""
    return layer.sees_whole_series or (isinstance(layer, WrapperLayer) and sees_whole_series(layer.layer))
