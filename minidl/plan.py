"""How much memory a step needs: the size of every workspace, and the least that any scheme would need."""

from __future__ import annotations

import threading
from collections import OrderedDict, defaultdict
from collections.abc import Sequence

from .model import Model
from .parameters import Parameters
from .placement import CONFIGURATION, Place
from .rehearsal import BatchForm, rehearse
from .requests import FEW, HEAP, MANY, MORE, Request, requests_for
from .workspaces.sizing import rounded_up

__all__ = ["MemoryPlan", "Planner", "liveness_bound", "workspace_sizes"]

KEPT_PLANS = 1024  # each is five numbers
KEPT_REHEARSALS = 64


class MemoryPlan:
    """What the workspaces must hold for a step: ``sizes``, bytes by id; the unforeseen is added after the step."""

    def __init__(self, sizes: dict[str, int]) -> None:
        self.sizes = sizes


class Planner:
    """The plans of one network, for every batch size and form of a batch that it met. Safe in several threads."""

    def __init__(self, model: Model, parameters: Parameters) -> None:
        self._model = model
        self._parameters = parameters
        self._plans: OrderedDict[tuple[BatchForm, int], MemoryPlan] = OrderedDict()
        self._rehearsals: dict[BatchForm, tuple[list[Request], list[Request]] | None] = {}  # None: not affine
        self._lock = threading.RLock()

    def plan(self, form: BatchForm, batch: int) -> MemoryPlan:
        """Return the plan for batches of one form and size.

        A network that trains is evaluated as well, so a plan for training maps what inference and evaluation of such a
        batch need. A custom layer that fails in rehearsal leaves its network unplanned: its first step spills and is
        learned from.
        """
        found = self._plans.get((form, batch))
        if found is not None:
            return found
        with self._lock:
            try:
                sizes = self.sizes(form, batch)
            except Exception:  # whatever a user's layer raises for made-up data, the real data must get its chance
                sizes = {}
            plan = self._plans[form, batch] = MemoryPlan(sizes)
            if len(self._plans) > KEPT_PLANS:
                self._plans.popitem(last=False)
            return plan

    def forget_training(self) -> None:
        """Drop what follows from the updaters, which were changed."""
        with self._lock:
            self._plans = OrderedDict((key, plan) for key, plan in self._plans.items() if key[0].purpose != "training")
            self._rehearsals = {form: line for form, line in self._rehearsals.items() if form.purpose != "training"}

    def requests(self, form: BatchForm, batch: int) -> list[Request]:
        """Return what one step asks for, by rehearsal; raises what a layer raises in it."""
        with self._lock:
            if form not in self._rehearsals:
                self._rehearsals[form] = self._line(form)
                if len(self._rehearsals) > KEPT_REHEARSALS:  # of series of many lengths
                    del self._rehearsals[next(iter(self._rehearsals))]
            line = self._rehearsals[form]
        if line is not None:
            return requests_for(*line, batch) or []
        return rehearse(self._model, self._parameters, form, batch)

    def _line(self, form: BatchForm) -> tuple[list[Request], list[Request]] | None:
        """Return two rehearsals from which those of any batch follow, None where a third one contradicts."""
        try:
            few, more, many = (rehearse(self._model, self._parameters, form, n) for n in (FEW, MORE, MANY))
        except Exception:  # a layer that takes no so small batches, say: it is rehearsed with the real one
            return None
        return (few, more) if requests_for(few, more, MANY) == many else None

    def sizes(self, form: BatchForm, batch: int) -> dict[str, int]:
        """Return the bytes of each workspace, by id; raises what a layer raises in rehearsal."""
        forms = []
        if form.purpose == "training":
            forms.append(form._replace(purpose="evaluation", class_weighted=False, input_gradient=False))
        if form.purpose != "inference":
            forms.append(BatchForm("inference", form.converts_features, timesteps=form.timesteps))
        sizes: dict[str, int] = {}
        for other in (form, *forms):
            for name, size in workspace_sizes(self.requests(other, batch)).items():
                sizes[name] = max(size, sizes.get(name, 0))
        return sizes


def workspace_sizes(requests: Sequence[Request]) -> dict[str, int]:
    """Return the bytes that each workspace needs: the most that one of its cycles asks for."""
    cycles: dict[tuple[str, int], int] = defaultdict(int)
    for request in requests:
        if request.workspace == HEAP:
            continue
        cycles[request.workspace, request.cycle] += rounded_up(request.bytes, CONFIGURATION.alignment)
    sizes: dict[str, int] = {}
    for (name, _), size in cycles.items():
        sizes[name] = max(size, sizes.get(name, 0))
    return sizes


def _one_step_of_each_loop(requests: Sequence[Request]) -> list[Request]:
    """Return the requests without those of all steps of a loop but the one that asks for most."""
    asked: dict[tuple[int, int, int], int] = defaultdict(int)
    for request in requests:
        if request.workspace == Place.LOOP.value:
            asked[request.layer, request.birth, request.cycle] += request.bytes
    largest: dict[tuple[int, int], int] = {}
    for (layer, birth, cycle), size in asked.items():
        best = largest.setdefault((layer, birth), cycle)
        if size > asked[layer, birth, best]:
            largest[layer, birth] = cycle
    return [
        request
        for request in requests
        if request.workspace != Place.LOOP.value or largest[request.layer, request.birth] == request.cycle
    ]


def liveness_bound(requests: Sequence[Request]) -> int:
    """Return the most bytes that are needed at one moment; no scheme of reuse can do with less."""
    change: dict[int, int] = defaultdict(int)
    for request in _one_step_of_each_loop(requests):
        change[request.birth] += request.bytes
        change[request.death + 1] -= request.bytes
    alive = most = 0
    for moment in sorted(change):
        alive += change[moment]
        most = max(most, alive)
    return most
