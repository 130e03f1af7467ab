"""The project as a whole: what may import what, what is public, and documents that say what is true."""

import ast
import dataclasses
import importlib
import inspect
import json
import os
import pkgutil
import re
import shlex
import subprocess
import sys
import textwrap
import tomllib
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from cyclopts import App

import haloes
from haloes.cli.main import COMMANDS, python_name, run
from haloes.errors import ConfigError
from haloes.feedback.read import FeedbackSource
from haloes.losses.components import PARTS
from haloes.losses.make import make_loss
from haloes.losses.table import LOSSES
from haloes.models.adapters import LoRA
from haloes.recipes.demo.recipe import demo_config
from haloes.records import Refusal
from haloes.runs.config import as_mapping
from haloes.runs.config_layers import make_config
from haloes.runs.read_settings import parse_settings
from stubs import PACKAGES, stub, stub_path

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "haloes"
SOURCES = sorted(PACKAGE.rglob("*.py"))
MOST_STATEMENTS = 22
"""Of a command: it parses, calls and prints. What it calls and how it draws stand elsewhere."""

every_source = pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(PACKAGE)))


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def document(name: str) -> str:
    path = ROOT / name
    if not path.exists():
        pytest.skip(f"{name} is not part of this copy of the project")
    return path.read_text(encoding="utf-8")


# --- modules


@pytest.mark.parametrize("name", [module.name for module in pkgutil.walk_packages([str(PACKAGE)], "haloes.")])
def test_every_module_can_be_imported(name: str):
    importlib.import_module(name)


@every_source
def test_no_module_imports_through_the_package_itself(path: Path):
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: a relative import"
            assert node.module != "haloes", f"line {node.lineno}: import from the module that holds the name"
        if isinstance(node, ast.Import):
            assert "haloes" not in {alias.name for alias in node.names}, f"line {node.lineno}"


@pytest.mark.parametrize(
    "path", [path for path in SOURCES if path.name == "__init__.py"], ids=lambda path: path.parent.name
)
def test_a_package_is_a_docstring(path: Path):
    body = tree(path).body

    assert ast.get_docstring(tree(path))
    assert len(body) == 1 or path.parent in {PACKAGE, PACKAGE / "losses"}


def calls(path: Path) -> Iterator[str]:
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func)


@every_source
def test_only_the_command_line_prints_and_exits(path: Path):
    if path.is_relative_to(PACKAGE / "cli"):
        return
    assert not {"print", "exit", "sys.exit", "quit"} & set(calls(path))


@every_source
def test_nothing_that_is_read_can_run_code(path: Path):
    # Encoders and rows go over pipes between a process and the workers that it starts; nothing of it was on a disk.
    pipes = {"pickle.load"} if str(path.relative_to(PACKAGE)) in {"tokens/parallel.py", "tokens/worker.py"} else set()
    forbidden = {"torch.load", "pickle.load", "pickle.loads", "eval", "exec", "yaml.unsafe_load"} - pipes
    if path.parent == PACKAGE / "evaluation" / "bench" / "sandbox" / "inside":
        forbidden -= {"exec"}  # these modules run in a jail, and running programs is what they are for
    assert not forbidden & set(calls(path))
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.keyword) and node.arg in {"trust_remote_code", "allow_pickle"}:
            assert isinstance(node.value, ast.Constant)
            assert node.value.value is False


def test_layers_point_one_way():
    linter = pytest.importorskip("importlinter.cli", reason="import-linter is not installed (make check runs it)")

    assert linter.lint_imports(config_filename=str(ROOT / "pyproject.toml"), no_cache=True) == 0


# --- the public names


every_public_package = pytest.mark.parametrize("package", [haloes, haloes.losses], ids=PACKAGES)


@every_public_package
def test_the_public_names_are_exactly_those_that_are_announced(package: ModuleType):
    own = {haloes: "losses", haloes.losses: "LOSSES"}[package]

    assert sorted(package.__all__) == sorted([*package.HOME_OF, own]) == dir(package)
    assert len(set(package.__all__)) == len(package.__all__)


@every_public_package
def test_type_checkers_read_the_same_names_from_the_same_modules(package: ModuleType):
    assert stub_path(package).read_text(encoding="utf-8") == stub(package), (
        "run `python tests/stubs.py`, as `make docs` does"
    )
    imported = [
        (node.module, alias.name, alias.asname)
        for node in ast.parse(stub(package)).body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    ]

    assert sorted(name for _, name, _ in imported) == dir(package)
    assert all(name == public for _, name, public in imported)
    for home, name, _ in imported:
        assert getattr(importlib.import_module(home or ""), name) is getattr(package, name)


@pytest.mark.parametrize("name", sorted(haloes.HOME_OF))
def test_every_public_name_is_there_and_explained(name: str):
    thing = getattr(haloes, name)

    assert thing.__name__ == name
    assert inspect.getdoc(thing)
    assert not (inspect.getdoc(thing) or "").startswith(f"{name}("), "the docstring is made up by dataclasses"


def test_every_loss_is_a_name_of_the_losses_and_of_haloes():
    classes = [made for made in LOSSES.values() if isinstance(made, type)]
    assert classes
    for cls in classes:
        assert getattr(haloes.losses, cls.__name__) is getattr(haloes, cls.__name__) is cls


@pytest.mark.parametrize("name", haloes.losses.HOME_OF)
def test_a_name_of_the_losses_is_one_of_haloes(name: str):
    assert getattr(haloes.losses, name) is getattr(haloes, name)


def test_the_public_names_are_known_without_torch():
    script = (
        "import sys, haloes; assert haloes.losses.LOSSES and dir(haloes) and dir(haloes.losses); print(*sys.modules)"
    )
    modules = subprocess.run(
        [sys.executable, "-c", script],
        env=os.environ | {"PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()

    assert not set(MIDDLING) & set(modules)


def test_a_name_that_is_not_public_is_no_attribute():
    with pytest.raises(AttributeError, match="module 'haloes' has no attribute 'nope'"):
        haloes.nope  # noqa: B018
    with pytest.raises(AttributeError, match=r"module 'haloes\.losses' has no attribute 'nope'"):
        haloes.losses.nope  # noqa: B018


# --- what a command may cost

HEAVY = ("torch", "transformers", "datasets", "peft", "scipy.stats")
"""Not for commands that only read feedback."""
MIDDLING = (*HEAVY, "pydantic", "numpy", "rich.progress", "pyarrow", "yaml")
"""Not even for --help."""


def loaded_by(arguments: list[str], names: tuple[str, ...], folder: Path, *, code: int = 0) -> list[str]:
    script = f"""
        import json, sys
        from haloes.cli.main import run
        assert run({arguments!r}) == {code}
        print(json.dumps([name for name in {names!r} if name in sys.modules]), file=sys.stderr)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        env=os.environ | {"PYTHONPATH": str(ROOT / "src")},
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    )
    names_loaded: list[str] = json.loads(done.stderr.splitlines()[-1])
    return names_loaded


@pytest.mark.parametrize("arguments", [["--help"], ["train", "--help"], ["doctor", "--help"]], ids=" ".join)
def test_help_imports_next_to_nothing(arguments: list[str], tmp_path: Path):
    assert loaded_by(arguments, MIDDLING, tmp_path) == []


@pytest.mark.parametrize("arguments", [["doctor", "f.jsonl"], ["convert", "f.jsonl", "g.jsonl"]], ids=lambda a: a[0])
def test_commands_on_data_import_no_torch(arguments: list[str], tmp_path: Path):
    rows = [{"prompt": f"p{i}", "completion": f"answer {i}", "label": i % 2 == 0} for i in range(6)]
    (tmp_path / "f.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))

    assert loaded_by(arguments, HEAVY, tmp_path) == []


@pytest.mark.parametrize("command", ["train", "plan"])
@pytest.mark.parametrize("arguments", [["no.jsonl"], ["f.jsonl", "--validation", "no.jsonl"]], ids=["file", "held out"])
def test_a_missing_file_is_told_before_torch_is_imported(command: str, arguments: list[str], tmp_path: Path):
    (tmp_path / "f.jsonl").write_text("{}")

    assert loaded_by([command, *arguments], HEAVY, tmp_path, code=2) == []


def imports_of(node: ast.AST, package: str, *, quiet: bool = False) -> Iterator[tuple[int, bool]]:
    """The lines that import from a package, and whether each is inside `with quiet():`."""
    if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == package:
        yield node.lineno, quiet
    if isinstance(node, ast.With):
        quiet = quiet or any(ast.unparse(item.context_expr) == "quiet()" for item in node.items)
    for child in ast.iter_child_nodes(node):
        yield from imports_of(child, package, quiet=quiet)


def test_peft_is_imported_quietly_as_bitsandbytes_logs_when_it_is_imported():
    found = [(path.name, *each) for path in sorted(PACKAGE.rglob("*.py")) for each in imports_of(tree(path), "peft")]

    assert found
    assert [item for item in found if not item[-1]] == []


# --- the command line


def command_functions() -> Iterator[tuple[str, ast.FunctionDef]]:
    for path in sorted((PACKAGE / "cli").glob("*.py")):
        for node in tree(path).body:
            if isinstance(node, ast.FunctionDef):
                yield f"{path.stem}.{node.name}", node


@pytest.mark.parametrize(("name", "function"), [pytest.param(*item, id=item[0]) for item in command_functions()])
def test_a_command_is_a_few_statements(name: str, function: ast.FunctionDef):
    body = function.body[1:] if ast.get_docstring(function) else function.body

    assert sum(isinstance(node, ast.stmt) for part in body for node in ast.walk(part)) <= MOST_STATEMENTS, name


@pytest.mark.parametrize("command", COMMANDS)
def test_the_table_of_commands_says_what_their_docstrings_say(command: str):
    name = python_name(command)
    function = getattr(importlib.import_module(f"haloes.cli.{name}"), name)

    explained = str(function.help) if isinstance(function, App) else inspect.getdoc(function) or ""
    assert explained.splitlines()[0] == COMMANDS[command]


def test_the_version_is_that_of_the_package(capsys: pytest.CaptureFixture[str]):
    try:
        installed = version("haloes")
    except PackageNotFoundError:
        pytest.skip("haloes is not installed here, only on the path")
    run(["--version"])

    assert capsys.readouterr().out.strip() == installed == pyproject()["project"]["version"]


# --- settings


def classes_of(module: str) -> list[ast.ClassDef]:
    source = inspect.getsource(importlib.import_module(module))
    return [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.ClassDef)]


def undocumented(cls: type[Any]) -> list[str]:
    """Fields of a dataclass that no string follows."""
    node = next(node for node in classes_of(cls.__module__) if node.name == cls.__name__)
    names = {f.name for f in dataclasses.fields(cls)}
    return [
        field.target.id
        for field, after in zip(node.body, [*node.body[1:], None], strict=True)
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and field.target.id in names
        if not (isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant))
    ]


def sections() -> list[type[Any]]:
    config = make_config()
    parts = [config, *(getattr(config, f.name) for f in dataclasses.fields(config)), LoRA()]
    return [type(part) for part in parts if dataclasses.is_dataclass(part)]


CLASSES = [*sections(), *PARTS.values(), *(made for made in LOSSES.values() if isinstance(made, type))]


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_every_setting_and_hyperparameter_is_explained(cls: type[Any]):
    assert undocumented(cls) == []


# --- documents


def pyproject() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def code_blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE)


def readme_commands() -> list[list[str]]:
    path = ROOT / "README.md"
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    lines = [line for block in code_blocks(text, "bash") for line in block.splitlines()]
    inline = [f"haloes {words}" for words in re.findall(r"`haloes ([^`]+)`", text)]
    return [words for line in [*lines, *inline] if (words := shlex.split(line, comments=True))]


@pytest.mark.parametrize("words", [w for w in readme_commands() if "haloes" in w[:9]], ids=" ".join)
def test_every_command_of_the_readme_exists_with_its_options(words: list[str], capsys: pytest.CaptureFixture[str]):
    command, *arguments = words[words.index("haloes") + 1 :]
    assert command in COMMANDS or command.startswith("--")
    run([command, "--help"] if command in COMMANDS else [command])
    shown = capsys.readouterr().out

    for argument in arguments:
        if argument.startswith("-"):
            assert re.search(rf"(^|[\s,(]){re.escape(argument.partition('=')[0])}\b", shown), argument


@pytest.mark.parametrize("words", [w for w in readme_commands() if w[0] == "make"], ids=" ".join)
def test_every_make_target_of_the_readme_exists(words: list[str]):
    assert re.search(rf"^{words[1]}:", document("Makefile"), flags=re.MULTILINE)


def test_every_setting_that_the_readme_names_exists():
    text = document("README.md")
    known = as_mapping(make_config()) | {"loss": {"name": ""} | dataclasses.asdict(make_loss("kto", {}))}
    named = re.findall(rf"`({'|'.join(known)})\.([\w.]+)(?:=[^`]*)?`", text)
    assert named
    for section, key in named:
        part: Any = known[section]
        for name in key.split("."):
            assert name in part, f"{section}.{key}"
            part = part[name]
    for given in re.findall(r"`--set ([^`\s]+=(?:'[^`]*'|[^`\s]+))`", text):
        if "section.key" not in given:
            make_config(parse_settings(shlex.split(given)))


def test_the_python_of_the_readme_is_python_with_public_names():
    for block in code_blocks(document("README.md"), "python"):
        named = [
            node.attr
            for node in ast.walk(ast.parse(block))
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "haloes"
        ]
        assert set(named) <= set(haloes.__all__)


def test_make_knows_what_the_project_promises():
    targets = re.findall(r"^(\w+):", document("Makefile"), flags=re.MULTILINE)

    assert {"demo", "test", "check", "bench"} <= set(targets)


def test_ci_runs_what_the_readme_says():
    assert "make test" in document(".ci/run")
    assert "make test" in document("README.md")
    assert os.access(ROOT / ".ci" / "run", os.X_OK)


def test_the_project_has_its_papers():
    assert "Apache License" in document("LICENSE")
    assert re.search(
        rf"^## \[?(Unreleased|{re.escape(pyproject()['project']['version'])})\b", document("CHANGELOG.md"), re.MULTILINE
    )
    document("README.md")
    assert list((ROOT / "design").glob("[0-9][0-9][0-9]-*.md"))


def requirements() -> list[str]:
    project = pyproject()["project"]
    return [*project["dependencies"], *(one for extra in project["optional-dependencies"].values() for one in extra)]


@pytest.mark.parametrize("text", sorted(set(requirements())))
def test_every_dependency_is_pinned_within_its_range(text: str):
    packaging = pytest.importorskip("packaging.requirements")
    pins = {
        packaging.Requirement(line).name.lower().replace("_", "-"): packaging.Requirement(line)
        for line in document("constraints.txt").splitlines()
        if line.strip() and not line.startswith("#")
    }
    wanted = packaging.Requirement(text)
    pin = pins[wanted.name.lower().replace("_", "-")]
    (specifier,) = pin.specifier

    assert specifier.operator == "=="
    assert wanted.specifier.contains(specifier.version)


# --- the demo's feedback


@pytest.mark.parametrize("name", ["feedback.jsonl", "validation.jsonl"])
def test_the_shipped_feedback_has_no_fault(name: str):
    rows = list(FeedbackSource(str(files("haloes.recipes.demo") / name)))

    assert rows
    assert not [str(row) for row in rows if isinstance(row, Refusal)]


def test_the_demo_is_a_valid_configuration_that_can_be_overridden():
    assert demo_config({"train": {"lr": 1}}).train.lr == 1
    with pytest.raises(ConfigError):
        demo_config({"train": {"lrr": 1}})
