"""What an array is for; the workspace manager decides from it where the array lives."""

import enum

__all__ = ["ArrayType"]


class ArrayType(enum.IntEnum):
    """The kinds of arrays of a network, by lifetime. Source: DL4J ``ArrayType``."""

    INPUT = 0
    """A layer's input that its backprop needs; until then."""
    ACTIVATIONS = 1
    """A layer's output: until the iteration's backprop ends, or until the next layer has consumed it."""
    ACTIVATION_GRAD = 2
    """The gradient with respect to a layer's input: until the previous layer has consumed it."""
    FF_WORKING_MEM = 3
    """Temporaries of one layer's forward pass."""
    BP_WORKING_MEM = 4
    """Temporaries of one layer's backward pass."""
    RNN_FF_LOOP_WORKING_MEM = 5
    """Temporaries of one time step, forward."""
    RNN_BP_LOOP_WORKING_MEM = 6
    """Temporaries of one time step, backward."""
    UPDATER_WORKING_MEM = 7
    """Temporaries of one block of the updater."""
    FF_CACHE = 8
    """Partial activations that backprop would otherwise compute again; as long as ACTIVATIONS."""
