"""The memory that a network will need, before it runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from .configuration import MultiLayerConfiguration
from .inputs import InputType, channels_last, channels_of
from .labels import LabelForm
from .model import Model
from .parameters import Parameters
from .placement import Place
from .plan import Planner, liveness_bound
from .rehearsal import BatchForm, planned_timesteps
from .requests import HEAP, UPDATER, Request
from .tables import table
from .workspaces import WorkspaceMode

__all__ = ["LayerMemory", "MemoryReport", "make_report"]


@dataclass(frozen=True)
class LayerMemory:
    """What one layer asks for in one step, in bytes: for good, and by workspace."""

    label: str
    parameters: int
    workspaces: dict[str, int]


@dataclass(frozen=True)
class MemoryReport:
    """The array memory of a network, in bytes, for one batch size; ``str()`` of it is a table.

    ``workspaces`` maps ids to the sizes that the workspaces will have. ``model_bytes`` are the parameters, their
    gradient and the updater's state. ``total_bytes`` is all that stays mapped, ``peak_bytes`` the part of it that is in
    use at the busiest moment of a step. ``liveness_bound`` is the least that any reuse of memory could do with beside
    ``model_bytes``. ``heap_bytes`` is what custom layers leave on the heap in every step, to be copied in. The caller's
    own arrays are not counted. ``timesteps`` is the length that series of varying length are planned for, or where
    training goes ``in_pieces`` the length of these; the sizes of the workspaces are enough for whole series as well.
    """

    batch_size: int
    training: bool
    layers: Sequence[LayerMemory]
    workspaces: dict[str, int]
    model_bytes: int
    peak_bytes: int
    liveness_bound: int
    heap_bytes: int = 0
    timesteps: int | None = None
    in_pieces: bool = False

    @property
    def workspace_bytes(self) -> int:
        """Bytes of all workspaces."""
        return sum(self.workspaces.values())

    @property
    def total_bytes(self) -> int:
        """Bytes that stay mapped: the model's and the workspaces'."""
        return self.model_bytes + self.workspace_bytes

    def __str__(self) -> str:
        names = list(self.workspaces)
        columns = ["Layer", "Model", *(name.removeprefix("WS_") for name in names)]
        rows = [
            [layer.label, f"{layer.parameters:,}", *(f"{layer.workspaces.get(name, 0):,}" for name in names)]
            for layer in self.layers
        ]
        rows.append(["Size of the workspace", "", *(f"{self.workspaces[name]:,}" for name in names)])
        ratio = self.workspace_bytes / self.liveness_bound if self.liveness_bound else 1.0
        of = "pieces of series" if self.in_pieces else "series"
        length = "" if self.timesteps is None else f", {of} of up to {self.timesteps} steps"
        work = "Training and inference" if self.training else "Inference"
        heading = f"{work} with batches of {self.batch_size}{length}"
        return "\n".join(
            [
                f"{heading}: bytes that each layer asks for in a step, calls added up",
                *table(columns, rows),
                f"Workspaces: {self.workspace_bytes:,}, {ratio:.2f} x the liveness bound of {self.liveness_bound:,}",
                f"Model (parameters, gradient, updater state): {self.model_bytes:,}",
                f"Total: {self.total_bytes:,}; in use at the peak of a step: {self.peak_bytes:,}",
                *([f"Custom layers leave {self.heap_bytes:,} on the heap in every step"] if self.heap_bytes else []),
            ]
        )


def make_report(
    model: Model,
    parameters: Parameters,
    planner: Planner,
    batch_size: int,
    training: bool,
    configuration: MultiLayerConfiguration,
    timesteps: int | None = None,
) -> MemoryReport:
    """Return the report for one batch size, and length of series where that varies.

    In mode NONE there are no workspaces, and the bound alone is known.
    """
    form = _form(training, batch_size, timesteps, configuration)
    requests = planner.requests(form, batch_size)
    sizes = _sizes(planner, form, batch_size, configuration)
    if training and configuration.piece_lengths is not None:  # output sees whole series
        in_pieces = configuration.evaluated_piece_length is not None
        whole = BatchForm("inference" if in_pieces else "evaluation", timesteps=planned_timesteps(timesteps))
        for name, size in _sizes(planner, whole, batch_size, configuration).items():
            sizes[name] = max(size, sizes.get(name, 0))
    vectors = [parameters.flat]
    if training:
        vectors += [parameters.gradient, parameters.updater_state]
    model_bytes = sum(vector.nbytes for vector in vectors)
    bound = liveness_bound(requests)
    in_use = liveness_bound(_held(requests)) if Place.ALL.value in sizes else bound
    return MemoryReport(
        batch_size,
        training,
        [_layer_memory(model, parameters, requests, index, sizes) for index in (*range(len(model.layers)), UPDATER)],
        sizes,
        model_bytes,
        model_bytes + in_use,
        bound,
        sum(request.bytes for request in requests if request.workspace == HEAP),
        form.timesteps,
        training and configuration.piece_lengths is not None,
    )


def _form(training: bool, batch_size: int, timesteps: int | None, configuration: MultiLayerConfiguration) -> BatchForm:
    """Return the form of batches of the network's type, of pieces where series are cut."""
    if not training:
        return BatchForm("inference", timesteps=planned_timesteps(timesteps))
    whole, pieces = timesteps or getattr(configuration.input_type, "timesteps", None), configuration.piece_lengths
    if pieces is None or whole is None or whole <= pieces[0]:
        return BatchForm("training", timesteps=planned_timesteps(timesteps))
    types = configuration.input_type, configuration.input_types()[-1]
    converted = [not _piece_is_contiguous(kind, batch_size) for kind in types]
    label_form = LabelForm.CONVERTED if converted[1] else LabelForm.AS_THEY_ARE
    return BatchForm("training", converted[0], label_form, timesteps=planned_timesteps(pieces[0]))


def _piece_is_contiguous(kind: InputType, batch_size: int) -> bool:
    """Tell whether some steps of series lie side by side: those of one example with time first, or of one number."""
    return batch_size == 1 and (channels_last(kind) or channels_of(kind) == 1)


def _sizes(
    planner: Planner, form: BatchForm, batch_size: int, configuration: MultiLayerConfiguration
) -> dict[str, int]:
    """Return the bytes of each workspace, by id, as far as the modes of training and of inference ask for any."""
    training = form.purpose == "training"
    if training and configuration.training_workspace_mode is WorkspaceMode.ENABLED:
        return planner.sizes(form, batch_size)
    if configuration.inference_workspace_mode is WorkspaceMode.NONE:
        return {}
    return planner.sizes(form._replace(purpose="evaluation") if training else form, batch_size)


def _layer_memory(
    model: Model, parameters: Parameters, requests: Sequence[Request], index: int, sizes: dict[str, int]
) -> LayerMemory:
    if index == UPDATER:
        label, own = "updater", parameters.updater_state.nbytes
    else:
        label, own = model.label(index), sum(view.nbytes for view in parameters.views[index].values())
    asked = {
        name: sum(request.bytes for request in requests if request.layer == index and request.workspace == name)
        for name in sizes
    }
    return LayerMemory(label, own, asked)


def _held(requests: Sequence[Request]) -> list[Request]:
    """Return the requests as DL4J's scheme holds them: all of WS_ALL_LAYERS_ACT until backprop has ended."""
    end = max((request.birth for request in requests if request.layer != UPDATER), default=0)
    return [
        replace(request, death=end) if request.workspace == Place.ALL.value and request.layer != UPDATER else request
        for request in requests
    ]
