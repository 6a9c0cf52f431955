"""The shape of the code: imports point downward, in a ring nowhere; heavy libraries stay where they belong."""

import ast
from graphlib import TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).parents[1]
FILES = sorted((ROOT / "raterhf").rglob("*.py"))

# From the bottom up. A module imports from its own room and from those before it.
ORDER = """__init__ errors terminal log io lock yaml_reader progress recipe_base recipe_compare recipe recipe_reader
evaluation.metrics worlds data
    raters models reports engine export run_folder run parts training evaluation evaluation.probes evaluation.compare explore bench api cli
    __main__""".split()
HEAVY = {"torch", "transformers", "pandas", "numpy", "lightning", "trl", "datasets", "sklearn", "scipy", "matplotlib", "rich"}


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


def part_of(module: str) -> str:
    """The room of a module: the longest of `ORDER` that it lies in."""
    inner = module.removeprefix("raterhf").lstrip(".") or "__init__"
    rooms = [room for room in ORDER if inner == room or inner.startswith(room + ".")]
    return max(rooms, key=len) if rooms else inner


def imports(path: Path, everywhere: bool = True) -> set[str]:
    """Modules that a file imports, also inside functions unless `everywhere` is False. `from a import b` gives a, and a.b if a module."""
    tree = ast.parse(path.read_text("utf-8"))
    typing_only = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    found = set()
    for node in ast.walk(tree) if everywhere else tree.body:
        if id(node) in typing_only:
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import; write the whole name"
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            modules = {name for name in inner if (ROOT / Path(*name.split("."))).with_suffix(".py").is_file()}
            found |= modules if len(modules) == len(inner) else modules | {node.module}
    return found


def ours(path: Path, everywhere: bool = True) -> set[str]:
    return {name for name in imports(path, everywhere) if name.split(".")[0] == "raterhf"}


def libraries(path: Path, everywhere: bool = True) -> set[str]:
    return {name.split(".")[0] for name in imports(path, everywhere)}


def test_every_module_has_a_part():
    assert {part_of(name_of(path)) for path in FILES} <= set(ORDER)


def test_imports_point_downward():
    upward = [
        f"{name_of(path)} imports {target}"
        for path in FILES
        for target in sorted(ours(path))
        if ORDER.index(part_of(target)) > ORDER.index(part_of(name_of(path)))
    ]
    assert upward == []


def test_no_module_imports_itself_in_a_ring():
    graph = {name_of(path): ours(path) & {name_of(file) for file in FILES} for path in FILES}
    order = list(TopologicalSorter(graph).static_order())  # raises CycleError, which names the ring
    assert len(order) == len(FILES)


def test_only_the_baseline_imports_trl():
    importers = {name_of(path) for path in FILES if "trl" in libraries(path)}
    methods = {name for name in importers if name.startswith("raterhf.evaluation.methods.")}
    assert importers - methods == {"raterhf.evaluation.trl_trainers"}


def test_only_training_imports_lightning():
    importers = {part_of(name_of(path)) for path in FILES if libraries(path) & {"lightning", "pytorch_lightning"}}
    assert importers == {"training"}


def test_raters_and_their_data_need_no_language_model():
    """Of transformers they may name the tokenizer's type and no more."""
    for path in FILES:
        if part_of(name_of(path)) in ("raters", "data"):
            named = {name for name in imports(path) if name.split(".")[0] in ("transformers", "lightning", "trl")}
            assert named <= {"transformers"}, name_of(path)


def test_the_command_line_imports_nothing_heavy_at_the_top():
    verbs = [path for path in FILES if part_of(name_of(path)) in ("cli",)]
    for path in [
        *verbs,
        *(
            ROOT / "raterhf" / name
            for name in (
                "recipe_base.py",
                "recipe_compare.py",
                "recipe.py",
                "errors.py",
                "terminal.py",
                "yaml_reader.py",
                "io.py",
                "__init__.py",
            )
        ),
    ]:
        assert libraries(path, everywhere=False) & HEAVY == set(), path
    allowed = {"raterhf", "raterhf.errors", "raterhf.engine.memory", "raterhf.log", "raterhf.terminal"}
    for path in verbs:
        assert {name for name in ours(path, everywhere=False) if part_of(name) != "cli"} <= allowed, path


def test_a_whole_recipe_stops_at_the_stages():
    """A stage takes its recipe apart; what it calls takes sections or plain values. Some files are about recipes as a whole."""
    whole = {"pipeline", "preview", "estimate", "step_texts", "budget", "budget_text"}
    takes = {"start": {"start_model", "save_start"}} | {
        f"stages.{stage}": {f"run_{stage}"} for stage in ("base", "reward", "sft", "policy")
    }
    takes["stages.reward"] |= {"make_training"}
    found: dict[str, set[str]] = {}
    for path in sorted((ROOT / "raterhf" / "training").rglob("*.py")):
        name = name_of(path).removeprefix("raterhf.training.")
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            annotations = [ast.unparse(a.annotation) for a in node.args.args if a.annotation] if isinstance(node, ast.FunctionDef) else []
            if "Recipe" in annotations and name not in whole:
                found.setdefault(name, set()).add(node.name)
    assert found == takes
