"""The public surface: what exists, what is documented, and what an import loads."""

import importlib
import inspect
import pkgutil
import subprocess
import sys

import pytest

import minidl

PROMISED = {
    "minidl": """
        ArrayType DataSet InputType Layer LayerWorkspaceMgr MultiLayerConfiguration MultiLayerNetwork
        NeuralNetConfiguration ParamSpec WorkspaceMode check_layer workspace
    """,
    "minidl.data": """
        ArrayDataSetIterator DigitsDataSetIterator ImagePreProcessingScaler IrisDataSetIterator ListDataSetIterator
        MnistDataSetIterator
    """,
    "minidl.errors": """
        ConcurrentUseError ConfigurationError DataError DtypeError MinidlError NoSuchWorkspaceError
        NotInitializedError ShapeError StaleArrayError WorkspaceError WorkspaceFullError
    """,
    "minidl.eval": "Evaluation ROC",
    "minidl.layers": "ActivationLayer DenseLayer DropoutLayer LossLayer OutputLayer",
    "minidl.nd": "detach in_scope is_attached leverage_or_detach leverage_to migrate",
    "minidl.threads": "blas_threads current_blas_threads",
    "minidl.training": """
        AMSGrad AdaBelief AdaDelta AdaGrad AdaMax Adam AdamW AlphaDropout CosineWarmupSchedule CycleSchedule DropConnect
        Dropout ExponentialSchedule FixedSchedule GaussianDropout GaussianNoise GradientNormalization InverseSchedule
        MapSchedule MaxNorm MinMaxNorm Nadam Nesterovs NoOp NonNegative PolySchedule RampSchedule ReduceLROnPlateau
        RmsProp Sgd SigmoidSchedule SpatialDropout StepSchedule UnitNorm WeightNoise
    """,
    "minidl.workspaces": """
        AllocationPolicy DebugMode LearningPolicy LocationPolicy ResetPolicy SpillPolicy Workspace WorkspaceArray
        WorkspaceConfiguration memory_manager workspace_manager
    """,
}
HEAVY = ("matplotlib", "numba", "pandas", "scipy.optimize", "scipy.stats", "sklearn", "torch", "urllib.request")

SUBMODULES = sorted(module.name for module in pkgutil.walk_packages(minidl.__path__, "minidl."))
MODULES = [
    "minidl",
    *(name for name in SUBMODULES if name != "minidl.__main__"),
]  # importing that would run it


def is_generated(docstring, cls):
    """Tell whether a class's docstring is the signature that ``dataclass`` or ``NamedTuple`` wrote."""
    return docstring.startswith(f"{cls.__name__}(") and docstring.endswith(")")


def undocumented(module):
    """Yield the public names and methods of ``module`` that neither have nor inherit a docstring."""
    for name in module.__all__:
        public = getattr(module, name)
        if inspect.isclass(public):
            own = public.__dict__.get("__doc__") or ""
            if not own or is_generated(own, public):
                yield name
            yield from (f"{name}.{member}" for member in undocumented_members(public))
        elif inspect.isroutine(public) and not inspect.getdoc(public):
            yield name


def undocumented_members(cls):
    for name, member in vars(cls).items():
        is_method = inspect.isroutine(member) or isinstance(member, (property, classmethod, staticmethod))
        if is_method and not name.startswith("_") and not inspect.getdoc(getattr(cls, name)):
            yield name


@pytest.mark.parametrize("name", MODULES)
def test_all_is_sorted_and_exists(name):
    module = importlib.import_module(name)
    assert list(module.__all__) == sorted(set(module.__all__))
    assert not [public for public in module.__all__ if not hasattr(module, public)]


@pytest.mark.parametrize("name", MODULES)
def test_module_and_its_public_names_are_documented(name):
    module = importlib.import_module(name)
    assert module.__doc__
    assert not list(undocumented(module))


@pytest.mark.parametrize("name", PROMISED)
def test_promised_names_are_public(name):
    assert set(PROMISED[name].split()) <= set(importlib.import_module(name).__all__)


def test_package_is_its_public_names():
    names = {name for name in vars(minidl) if not name.startswith("_")}
    modules = {name for name in names if inspect.ismodule(getattr(minidl, name))}
    assert names - modules == {name for name in minidl.__all__ if not name.startswith("_")}


def test_import_loads_nothing_heavy():
    script = f"import minidl, sys; print([name for name in {HEAVY} if name in sys.modules])"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout == "[]\n"
