"""Whose class it is: minidl's own keeps to the rules of its memory, and a user's must be helped to."""

import functools

__all__ = ["is_user_code"]


@functools.cache
def is_user_code(cls: type) -> bool:
    """Tell whether a class comes from outside minidl: such code is handed WorkspaceArrays."""
    return cls.__module__.partition(".")[0] != __name__.partition(".")[0]
