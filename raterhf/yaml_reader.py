"""YAML as a person writes it: every key once, no references, no tags, shallow, numbers of human size.

PyYAML takes the last of two equal keys in silence, and a few lines of references can stand for gigabytes. Here both are errors that name
the line, as is all else that is no plain mapping, list, text, number or date.
"""

from pathlib import Path
from typing import Any

import yaml

from raterhf.errors import UserError
from raterhf.io import require_file

MAX_BYTES = 10_000_000
MAX_DEPTH = 20
MAX_DIGITS = 40
NUMBERS = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")


class _Strict(yaml.SafeLoader):
    """Refuses while it reads, so that nothing is built of what a few lines could blow up."""

    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node:
        event: Any = self.peek_event()
        if isinstance(event, yaml.AliasEvent) or event.anchor:
            raise _refused("a reference (& or *), which is not read: write the value out where it is meant", event)
        if event.tag:
            raise _refused(f"the tag {event.tag}, which is not read: write the value without it", event)
        if self.depth == MAX_DEPTH:
            raise _refused(f"more than {MAX_DEPTH} levels of lists and mappings: write it flatter", event)
        self.depth += 1
        node = super().compose_node(parent, index)
        self.depth -= 1
        if node.tag in NUMBERS and len(node.value) > MAX_DIGITS:
            raise _refused(f"a number of {len(node.value)} characters, at most {MAX_DIGITS} are read: shorten or quote it", node)
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        found: dict = {}
        lines: dict = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode) or key_node.tag == "tag:yaml.org,2002:merge":
                raise _refused("a key that is no plain word", key_node)
            key, line = self.construct_object(key_node), key_node.start_mark.line + 1
            if key in found:
                raise _refused(f"the key `{key}` again, after line {lines[key]}: a key stands once, so remove one of them", key_node)
            found[key], lines[key] = self.construct_object(value_node, deep=deep), line
        return found


def _refused(problem: str, at: Any) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=f"holds {problem}", problem_mark=at.start_mark)


def parse_yaml(text: str) -> Any:
    """What a YAML text says. Raises ValueError, whose message names line and problem."""
    try:
        return yaml.load(text, _Strict)
    except yaml.MarkedYAMLError as error:
        line = f"line {error.problem_mark.line + 1} " if error.problem_mark else ""
        problem = error.problem or str(error).splitlines()[0]
        told = problem if problem.startswith("holds ") else f"is not YAML: {': '.join(filter(None, [error.context, problem]))}"
        raise ValueError(line + told) from error
    except (yaml.YAMLError, ValueError, OverflowError, RecursionError) as error:  # odd characters, a date that is none
        raise ValueError(f"is not YAML: {' '.join(str(error).split())}") from error


def read_yaml(path: Path, what: str) -> Any:
    """What a YAML file says; `what` is what the file is to be, in words. Raises UserError."""
    require_file(path, what)
    if path.stat().st_size > MAX_BYTES:
        raise UserError(f"{what} {path} has {path.stat().st_size} bytes, at most {MAX_BYTES} are read; give another file")
    try:
        return parse_yaml(path.read_text("utf-8"))
    except UnicodeDecodeError as error:
        raise UserError(f"{what} {path} is not YAML in UTF-8: byte {error.start} is no UTF-8; save it again as UTF-8") from error
    except ValueError as error:
        raise UserError(f"{what} {path}: {error}") from error
