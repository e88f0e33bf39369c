"""What may import what: no circles, and nothing from a room above."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

# Rooms from the ground up; those of one floor do not know of each other, but for the lowest.
FLOORS = (
    {"config", "models", "ogip"},
    {"engines", "detection"},
    {"networks"},
    {"publish"},
    {"observation"},
    {"api", "stages"},
)
FLOOR = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
# What is not run when a module is imported.
ELSEWHERE = ("TYPE_CHECKING", "__name__ == '__main__'")
# How labels are read is code that jobs depend on; the vocabulary is left out of their digest.
EXCEPTIONS = {("icflow.config.networks", "icflow.networks.labels")}


@pytest.fixture(scope="module")
def sources(root: Path) -> dict[str, ast.Module]:
    """Every module of the library, by its name."""
    library = root / "src"
    found = {}
    for path in library.rglob("*.py"):
        if "project_files" not in path.parts:
            name = ".".join(path.relative_to(library).with_suffix("").parts)
            found[name.removesuffix(".__init__")] = ast.parse(path.read_text(encoding="utf-8"))
    return found


def imports(tree: ast.AST, modules: set[str]) -> Iterator[str]:
    """Every module that is imported below a node, but for types and by commands alone."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                yield from {whole if whole in modules else str(node.module)} & modules
        elif isinstance(node, ast.Import):
            yield from {alias.name for alias in node.names} & modules
        elif isinstance(node, ast.If) and ast.unparse(node.test) in ELSEWHERE:
            continue
        elif not isinstance(node, ast.expr):
            yield from imports(node, modules)


def room_of(module: str) -> str:
    return module.split(".")[1] if "." in module else ""


def test_no_module_needs_itself_to_be_imported(sources: dict[str, ast.Module]) -> None:
    def at_once(tree: ast.Module) -> ast.Module:
        later = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
        return ast.Module([node for node in tree.body if not isinstance(node, later)], [])

    modules = set(sources)
    needed = {name: set(imports(at_once(tree), modules)) for name, tree in sources.items()}
    assert any("icflow.sections" in names for names in needed.values())
    TopologicalSorter(needed).prepare()  # raises CycleError, which names the circle


def test_no_room_knows_of_one_above(sources: dict[str, ast.Module]) -> None:
    modules = set(sources)
    assert {room_of(name) for name in modules if name.count(".") > 1} == set(FLOOR)
    upward = {
        (name, other)
        for name, tree in sources.items()
        for other in imports(tree, modules)
        if room_of(name) in FLOOR and room_of(other) in FLOOR
        if room_of(name) != room_of(other)
        if FLOOR[room_of(other)] > FLOOR[room_of(name)]
        or (FLOOR[room_of(other)] == FLOOR[room_of(name)] > 0)
    }
    assert upward == EXCEPTIONS
