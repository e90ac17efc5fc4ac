"""What all tests share."""

import functools

import allocation
import numpy as np
import pytest
from hypothesis import settings

settings.register_profile("minidl", deadline=None, derandomize=True)
settings.load_profile("minidl")


@pytest.fixture
def rng():
    """Return a fresh generator, the same in every test."""
    return np.random.default_rng(12345)


@pytest.fixture(scope="session")
def run_under_counter(tmp_path_factory):
    """Return ``allocation.run_under_counter`` with the compiled counter of heap requests."""
    counter = allocation.compiled_counter(tmp_path_factory.mktemp("malloc_counter"))
    return functools.partial(allocation.run_under_counter, counter)


@pytest.fixture(scope="session")
def torch():
    """Return PyTorch, on one thread; where it is not installed, what asks for it is skipped."""
    torch = pytest.importorskip("torch")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield torch
    torch.set_num_threads(threads)
