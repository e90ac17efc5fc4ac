"""Every error that minidl raises on purpose: what came, what was expected, what to do."""

__all__ = [
    "ConcurrentUseError",
    "ConfigurationError",
    "ConfigurationWarning",
    "DataError",
    "DtypeError",
    "LayerError",
    "MinidlError",
    "NoSuchWorkspaceError",
    "NonFiniteScoreError",
    "NotInitializedError",
    "PlacementWarning",
    "ShapeError",
    "StaleArrayError",
    "WorkspaceError",
    "WorkspaceFullError",
]


class MinidlError(Exception):
    """Base class of all errors of minidl."""


class ConfigurationError(MinidlError, ValueError):
    """An option, or a combination of options, that cannot work."""


class ShapeError(MinidlError, ValueError):
    """An array or a layer whose shape does not fit."""


class DataError(MinidlError, ValueError):
    """Data that cannot be used: empty, not finite, out of range, labels that do not match."""


class DtypeError(MinidlError, TypeError):
    """An array of a type that cannot be used, such as complex numbers, objects or text."""


class LayerError(MinidlError, TypeError):
    """A layer, activation or loss that breaks its protocol."""


class NonFiniteScoreError(MinidlError, ArithmeticError):
    """The score of a training step is NaN or infinite, and the user asked to stop then."""


class NotInitializedError(MinidlError, RuntimeError):
    """A network that is used before ``init()``, or a result that is read before it exists."""


class ConcurrentUseError(MinidlError, RuntimeError):
    """Two threads in a call that only one at a time may make."""


class WorkspaceError(MinidlError, RuntimeError):
    """A workspace, or an array in one, is used against its rules.

    ``code`` names the rule, "E1" to "E26", as numbered in the documentation of DL4J's workspaces.
    """

    def __init__(self, message: str, code: str = "") -> None:
        super().__init__(message)
        self.code = code


class StaleArrayError(WorkspaceError):
    """An attached array is used after its scope closed, or in a later cycle of its workspace."""


class WorkspaceFullError(WorkspaceError, MemoryError):
    """A request does not fit and the workspace may not spill or grow."""


class NoSuchWorkspaceError(WorkspaceError, KeyError):
    """No workspace of that id exists in this thread."""

    def __str__(self) -> str:  # KeyError would show the repr of the message
        return str(self.args[0])


class ConfigurationWarning(UserWarning):
    """Options that are legal, but hardly what was meant."""


class PlacementWarning(UserWarning):
    """A layer left a result on the heap, so that every call allocates and copies it."""
