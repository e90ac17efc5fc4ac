"""Imports go one way, and files and functions stay small.

Each rule takes the path and the source of a file, and returns what is wrong in sentences.
"""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "minidl"

# Directly below each part; what those may import, it may import too.
BELOW = {
    "errors": (),
    "numeric_options": ("errors",),
    "options": ("errors",),
    "threads": ("errors",),
    "tables": (),
    "serialization": ("errors",),
    "workspaces": ("errors",),
    "nd": ("workspaces",),
    "functions": ("workspaces",),
    "training": ("nd", "functions"),
    "inputs": ("nd", "functions"),
    "layers": ("training", "inputs"),
    "parameters": ("layers",),
    "truncation": ("layers",),
    "configuration": ("parameters", "truncation"),
    "data": ("workspaces",),
    "labels": ("functions", "inputs"),
    "batches": ("data", "labels"),
    "class_weights": ("batches",),
    "feeding": ("class_weights",),
    "model": ("configuration", "batches"),
    "perturbation": ("layers",),
    "preprocessing": ("model",),
    "placement": ("workspaces",),
    "managers": ("model", "placement"),
    "passes": ("preprocessing", "perturbation", "managers"),
    "requests": (),
    "rehearsal": ("passes", "class_weights", "requests"),
    "plan": ("rehearsal",),
    "memory_report": ("plan", "tables"),
    "summary": ("layers", "tables"),
    "frames": ("plan",),
    "eval": ("errors",),
    "solver": ("plan", "data", "eval"),
    "network_base": ("solver", "frames", "feeding", "memory_report", "summary"),
    "interrupts": (),
    "pieces": ("batches", "layers"),
    "inference": ("network_base",),
    "stepping": ("inference",),
    "evaluating": ("stepping", "pieces"),
    "network": ("evaluating", "interrupts"),
    "listeners": ("network",),
    "early_stopping": ("network",),
    "transfer_learning": ("network",),
    "parallel": ("network",),
    "check": ("network",),
    "dl4j": ("network",),
}
FOR_ALL = {"errors", "numeric_options", "options", "threads"}
USERS_OF_SERIALIZATION = {"training", "layers", "configuration"}
EVERYTHING = {"__init__", "__main__"}

# (file, function, part): the whole list of imports that wait until a function is called
LATE_IMPORTS = {
    ("network.py", "save", "dl4j"),
    ("network.py", "load", "dl4j"),
    ("network.py", "_train", "listeners"),
    ("evaluating.py", "do_evaluation", "listeners"),
    ("eval/plots.py", "_axes", "minidl"),  # matplotlib: an extra, and slow to import
    ("data/mnist.py", "_downloaded", "data"),  # urllib and ssl: slow to import, and for a download only
    ("functions/activations.py", "_normal_distribution", "minidl"),  # SciPy: slow to import, and for one option only
    ("functions/distributions.py", "_normal_quantile", "minidl"),  # the same
}

MAX_FILE_LINES = 350
MAX_FUNCTION_LINES = 40

FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


def allowed(part):
    """Return all parts that ``part`` may import, itself included."""
    found = {part} | FOR_ALL
    if part in USERS_OF_SERIALIZATION:
        found.add("serialization")
    for below in BELOW.get(part, ()):
        found |= allowed(below) - {"serialization"}
    return found


def part_of(path):
    return path.parts[0].removesuffix(".py")


def imported_modules(node, path):
    """Yield the modules that an import statement names, each as a tuple of names from the root of all."""
    if isinstance(node, ast.Import):
        yield from (tuple(alias.name.split(".")) for alias in node.names)
        return
    package = ("minidl", *path.parent.parts)
    base = package[: len(package) - node.level + 1] if node.level else ()
    module = (*base, *(node.module.split(".") if node.module else ()))
    if node.module:
        yield module
    else:  # from . import a, b
        yield from ((*module, alias.name) for alias in node.names)


def imports(tree):
    """Yield every import statement with the name of the innermost function around it, or None."""

    def walk(node, function):
        for child in ast.iter_child_nodes(node):
            if isinstance(child, (ast.Import, ast.ImportFrom)):
                yield child, function
            yield from walk(child, child.name if isinstance(child, FUNCTIONS) else function)

    return walk(tree, None)


def import_errors(path, source):
    part = part_of(path)
    for node, function in imports(ast.parse(source)):
        where = f"minidl/{path.as_posix()}, line {node.lineno}"
        absolute = isinstance(node, ast.Import) or node.level == 0
        for module in imported_modules(node, path):
            inside = module[0] == "minidl"
            target = module[1] if inside and len(module) > 1 else "minidl"
            is_listed = (path.as_posix(), function, target) in LATE_IMPORTS
            if function and not is_listed:
                yield f"`{'.'.join(module)}` may not be imported inside the function `{function}` ({where})"
            if not inside:
                continue
            if absolute:
                yield f"`{'.'.join(module)}` must be imported relatively ({where})"
            elif part not in EVERYTHING and not is_listed and target not in allowed(part):
                yield f"`{part}` may not import `{target}` ({where})"


def size_errors(path, source):
    lines = source.splitlines()
    if len(lines) > MAX_FILE_LINES:
        yield f"minidl/{path.as_posix()} has {len(lines)} lines, at most {MAX_FILE_LINES} are allowed"
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, FUNCTIONS) and (count := code_lines(node, lines)) > MAX_FUNCTION_LINES:
            yield (
                f"`{node.name}` (minidl/{path.as_posix()}, line {node.lineno}) has {count} lines of code, "
                f"at most {MAX_FUNCTION_LINES} are allowed"
            )


def code_lines(function, lines):
    """Count the lines of a function without docstrings, comments and blank lines."""
    counted = set(range(function.lineno, function.end_lineno + 1))
    for node in ast.walk(function):
        if isinstance(node, (*FUNCTIONS, ast.ClassDef)) and ast.get_docstring(node) is not None:
            docstring = node.body[0]
            counted -= set(range(docstring.lineno, docstring.end_lineno + 1))
    return sum(lines[number - 1].strip()[:1] not in ("", "#") for number in counted)


FILES = sorted(path.relative_to(ROOT) for path in ROOT.rglob("*.py"))


@pytest.mark.parametrize("rule", [import_errors, size_errors])
@pytest.mark.parametrize("path", FILES, ids=Path.as_posix)
def test_rule_holds(path, rule):
    errors = list(rule(path, (ROOT / path).read_text(encoding="utf-8")))
    assert not errors, "\n".join(errors)


def test_every_part_has_its_place():
    assert {part_of(path) for path in FILES} <= BELOW.keys() | EVERYTHING


@pytest.mark.parametrize(
    ("path", "source", "error"),
    [
        ("layers/dense.py", "from ..network import X", "`layers` may not import `network`"),
        ("layers/dense.py", "from .. import plan", "`layers` may not import `plan`"),
        ("layers/dense.py", "from .. import Layer", "`layers` may not import `Layer`"),
        ("layers/rnn/lstm.py", "from ...solver import X", "`layers` may not import `solver`"),
        (
            "layers/dense.py",
            "if TYPE_CHECKING:\n    from ..network import X",
            "`layers` may not import `network`",
        ),
        ("inputs.py", "from .training import X", "`inputs` may not import `training`"),
        ("workspaces/a.py", "from ..serialization import X", "`workspaces` may not import `serialization`"),
        ("eval/roc.py", "from ..workspaces import X", "`eval` may not import `workspaces`"),
        ("network.py", "from .listeners import X", "`network` may not import `listeners`"),
        ("network.py", "import minidl.solver", "`minidl.solver` must be imported relatively"),
        ("network.py", "from minidl import Layer", "`minidl` must be imported relatively"),
        ("network.py", "def save():\n    import os", "`os` may not be imported inside the function `save`"),
        (
            "solver.py",
            "def fit():\n    from .plan import X",
            "`minidl.plan` may not be imported inside the function `fit`",
        ),
    ],
)
def test_planted_import_is_found(path, source, error):
    assert [found.partition(" (minidl/")[0] for found in import_errors(Path(path), source)] == [error]


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("layers/dense.py", "from .base import Layer\nfrom ..training import Adam\nfrom .. import nd"),
        ("layers/dense.py", "from ..serialization import X\nfrom ..options import Y\nimport numpy as np"),
        ("network.py", "def _train():\n    from .listeners import X"),
        ("network.py", "class Net:\n    def save(self):\n        from .dl4j.model import X"),
        ("__init__.py", "from .network import MultiLayerNetwork\nfrom .dl4j import X"),
    ],
)
def test_good_imports_pass(path, source):
    assert not list(import_errors(Path(path), source))


def test_large_function_is_found_and_only_code_counts():
    body = '    """Doc.\n\n    More.\n    """\n' + "    x = 1\n" * 39 + "\n    # comment\n" * 20
    assert not list(size_errors(Path("a.py"), "def f():\n" + body))
    (error,) = size_errors(Path("a.py"), "def f():\n" + body + "    return x\n")
    assert error == "`f` (minidl/a.py, line 1) has 41 lines of code, at most 40 are allowed"


def test_large_file_is_found():
    assert not list(size_errors(Path("a.py"), "\n" * 350))
    assert list(size_errors(Path("a.py"), "\n" * 351)) == ["minidl/a.py has 351 lines, at most 350 are allowed"]
