"""The rules of training: updaters, schedules, gradient normalisation, dropout."""

from .adam import AdaBelief, Adam, AdaMax, AdamW, AMSGrad, Nadam
from .adaptive import AdaDelta, AdaGrad, RmsProp
from .constraints import Constraint, MaxNorm, MinMaxNorm, NonNegative, UnitNorm
from .dropout import (
    DROPOUTS,
    AlphaDropout,
    BaseDropout,
    Dropout,
    GaussianDropout,
    GaussianNoise,
    SpatialDropout,
    dropout,
)
from .gradient_normalization import GradientNormalization, normalize_gradients
from .plateau import PlateauMode, PlateauState, PlateauThreshold, ReduceLROnPlateau
from .schedule_base import Schedule, ScheduleType
from .schedules import (
    SCHEDULES,
    CosineWarmupSchedule,
    CycleSchedule,
    ExponentialSchedule,
    FixedSchedule,
    InverseSchedule,
    MapSchedule,
    PolySchedule,
    RampSchedule,
    SigmoidSchedule,
    StepSchedule,
)
from .updater_base import Updater
from .updaters import UPDATERS, Nesterovs, NoOp, Sgd, updater
from .weight_noise import BaseWeightNoise, DropConnect, WeightNoise

__all__ = [
    "AMSGrad",
    "AdaBelief",
    "AdaDelta",
    "AdaGrad",
    "AdaMax",
    "Adam",
    "AdamW",
    "AlphaDropout",
    "BaseDropout",
    "BaseWeightNoise",
    "Constraint",
    "CosineWarmupSchedule",
    "CycleSchedule",
    "DROPOUTS",
    "DropConnect",
    "Dropout",
    "ExponentialSchedule",
    "FixedSchedule",
    "GaussianDropout",
    "GaussianNoise",
    "GradientNormalization",
    "InverseSchedule",
    "MapSchedule",
    "MaxNorm",
    "MinMaxNorm",
    "Nadam",
    "Nesterovs",
    "NoOp",
    "NonNegative",
    "PlateauMode",
    "PlateauState",
    "PlateauThreshold",
    "PolySchedule",
    "RampSchedule",
    "ReduceLROnPlateau",
    "RmsProp",
    "SCHEDULES",
    "Schedule",
    "ScheduleType",
    "Sgd",
    "SigmoidSchedule",
    "SpatialDropout",
    "StepSchedule",
    "UPDATERS",
    "UnitNorm",
    "Updater",
    "WeightNoise",
    "dropout",
    "normalize_gradients",
    "updater",
]
