"""Read the code as text: descriptions beside fields, calls, the modules there are."""

import ast
import inspect
import textwrap
from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
PACKAGES: Final = ("client/hyperdrift", "daemon", "monitor", "retrain")


def modules(*packages: str) -> Iterator[tuple[str, ast.Module]]:
    """Yield the path, from the root of the repository, and the tree of each module."""
    for package in packages or PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            yield path.relative_to(ROOT).as_posix(), _tree(path)


@cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"))


def path_of(thing: type) -> str:
    """Return the module of a class as a path from the root of the repository."""
    return Path(inspect.getfile(thing)).relative_to(ROOT).as_posix()


def summary(thing: object) -> str:
    """Return the first sentence or paragraph of a docstring."""
    return " ".join(doc(thing).split("\n\n")[0].split())


def doc(thing: object) -> str:
    """Return a docstring up to its sections."""
    text = inspect.getdoc(thing) or ""
    for section in ("Args:", "Attributes:", "Raises:"):
        text = text.split(f"\n\n{section}\n")[0]
    return text


def field_texts(owner: type) -> dict[str, str]:
    """Return what stands beside the fields of a class and of its bases, by name.

    That is the string under a field, or its line in the docstring's section `Attributes:`.
    """
    found: dict[str, str] = {}
    for kind in reversed(owner.__mro__):
        if not kind.__module__.startswith(("builtins", "msgspec", "enum")):
            found |= _attributes(inspect.getdoc(kind) or "") | _strings(kind)
    return found


def _strings(kind: type) -> dict[str, str]:
    tree = ast.parse(textwrap.dedent(inspect.getsource(kind)))
    body = tree.body[0].body if isinstance(tree.body[0], ast.ClassDef) else []
    found = {}
    for field, text in pairwise(body):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
            match text:
                case ast.Expr(ast.Constant(str(words))):
                    found[field.target.id] = " ".join(words.split())
    return found


def _attributes(text: str) -> dict[str, str]:
    _, _, section = text.partition("Attributes:\n")
    found: dict[str, str] = {}
    name = ""
    for line in section.split("\n\n")[0].splitlines():
        if line.startswith("     ") and name:
            found[name] += f" {line.strip()}"
        elif ": " in line:
            name, _, rest = line.strip().partition(": ")
            found[name] = rest
    return found


def calls(tree: ast.AST) -> Iterator[ast.Call]:
    """Yield every call inside a tree."""
    return (node for node in ast.walk(tree) if isinstance(node, ast.Call))


def functions(tree: ast.Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Yield every function of a module, methods and inner ones too."""
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return (node for node in ast.walk(tree) if isinstance(node, kinds))


def texts_of(node: ast.expr, scope: ast.AST) -> list[str]:
    """Return the texts that an expression may be: itself, either branch, or what a name holds.

    Args:
        node: The expression.
        scope: The function or module in which a name gets its value.
    """
    match node:
        case ast.Constant(str(text)):
            return [text]
        case ast.IfExp(body=body, orelse=orelse):
            return texts_of(body, scope) + texts_of(orelse, scope)
        case ast.Name(name):
            found = []
            for each in ast.walk(scope):
                match each:
                    case ast.Assign([ast.Name(target)], value) | ast.AnnAssign(
                        ast.Name(target), _, ast.expr() as value
                    ) if target == name:
                        found += texts_of(value, scope) if value is not node else []
            return found
    return []
