"""Recipes: what is shipped parses; every mistake names its key, the rule and the nearest right one."""

import os
import re
from pathlib import Path

import pytest
import yaml
from small_run import fails as refused
from small_run import succeeds

from raterhf.errors import UserError
from raterhf.evaluation.compare.rivals import method_of, policy_of, strengths
from raterhf.recipe import Recipe
from raterhf.recipe_base import Section
from raterhf.recipe_compare import VanillaSettings
from raterhf.recipe_reader import dump_recipe, load_recipe, parse_recipe, shipped

KINDS = ("comparisons", "ratings", "demonstrations")
RAW = {
    "name": "tiny",
    "data": {"comparisons": "c.csv", "demonstrations": "d.csv", "base": "b.csv"},
    "model": {"max_length": 32},
    "raters": {"dim": 4},
    "base": {"steps": 1, "lr": 0.1},
    "reward": {"steps": 1, "lr": 0.1},
    "sft": {"steps": 1, "lr": 0.1},
    "policy": {"steps": 1, "lr": 0.1, "beta": 0.5},
    "vanilla": {"rl": {"beta": 0.1}},
    "compare": {"draws": 10},
}


@pytest.fixture
def recipe_file(tmp_path):
    def write(raw) -> Path:
        path = tmp_path / "tiny.yaml"
        path.write_text(raw if isinstance(raw, str) else yaml.safe_dump(raw), "utf-8")
        return path

    return write


def without(*keys: str) -> dict:
    """RAW less some keys, each as `section` or `section.key`."""
    raw = {name: dict(value) if isinstance(value, dict) else value for name, value in RAW.items()}
    for key in keys:
        section, _, name = key.partition(".")
        raw[section].pop(name) if name else raw.pop(section)
    return raw


def fails(raw: dict, *parts: str) -> None:
    with pytest.raises(UserError) as caught:
        parse_recipe(raw, "tiny.yaml")
    for part in ("tiny.yaml", *parts):
        assert part in str(caught.value), f"{part!r} is not in {caught.value}"


def sections() -> dict[str, type[Section]]:
    found = {}
    for name, field in Recipe.model_fields.items():
        options = getattr(field.annotation, "__args__", (field.annotation,))
        for option in options:
            if isinstance(option, type) and issubclass(option, Section):
                found[name] = option
    return found


# What is shipped


@pytest.mark.parametrize("name", shipped())
def test_shipped_recipes_parse_and_open_with_commands_that_run_them(name):
    path = shipped()[name]
    assert load_recipe(path).stages
    first, second = path.read_text("utf-8").splitlines()[:2]
    command = re.fullmatch(rf"# raterhf (?:train|compare) recipes/{name}\.yaml", first)
    override = re.fullmatch(rf"# raterhf (?:train|compare) recipes/{name}\.yaml (\S+=\S+)", second)
    assert command and override, f"{path}: the first lines are the command that runs it and one override"
    assert load_recipe(path, [override[1]]) != load_recipe(path)


def test_something_is_shipped():
    assert "dice" in shipped()


def test_every_key_has_a_string_beneath_it():
    bare = [f"{name}.{key}" for name, section in sections().items() for key, field in section.model_fields.items() if not field.description]
    assert bare == []


def test_the_resolved_recipe_reads_back_as_itself(recipe_file):
    recipe = parse_recipe(RAW, "tiny.yaml")
    assert load_recipe(recipe_file(dump_recipe(recipe))) == recipe
    assert recipe.stages == ["base", "reward", "sft", "policy"]
    assert recipe.folder == Path("runs/tiny")


# Mistakes in keys and values


@pytest.mark.parametrize("name", sections())
def test_an_unknown_key_names_the_nearest(name):
    raw = without()
    key = list(sections()[name].model_fields)[0]
    raw[name] = raw.get(name, {}) | {key + "s_": 1}
    fails(raw, f"unknown key `{name}.{key}s_`; did you mean `{name}.{key}`?")


def test_an_unknown_section_names_the_nearest():
    fails(RAW | {"polcy": {"beta": 1}}, "unknown key `polcy`; did you mean `policy`?")


@pytest.mark.parametrize(
    ("key", "value", "part"),
    [
        ("policy.beta", "strong", "valid number"),
        ("policy.beta", 0, "greater than 0"),
        ("policy.beta", float("nan"), "finite number"),
        ("policy.lr", float("inf"), "finite number"),
        ("policy.steps", 10**30, "less than or equal to"),
        ("seed", 2**32, "less than or equal to"),
        ("policy.algorithm", "ppo", "one of best_of_n, dpo, favourites, feedme, forward_kl, rating_conditioned, reword, rloo"),
        ("reward.steps", 1.5, "integer"),
        ("raters.encoding", None, "'embedding', 'text' or 'none'"),
        ("data.comparisons", 7, "valid"),
        ("compare.betas", "0.1", "list"),
        ("model", 3, "dictionary"),
    ],
)
def test_a_wrong_value_names_its_key(key, value, part):
    raw = without()
    section, _, name = key.partition(".")
    if name:
        raw[section][name] = value
    else:
        raw[section] = value
    fails(raw, f"`{key}", part, repr(value))


def test_a_missing_key_is_named():
    fails(without("policy.steps"), "`policy.steps` is missing")
    fails(without("name"), "`name` is missing")


@pytest.mark.parametrize("name", ["../up", "a b", "", "a/b"])
def test_a_name_is_one_folder(name):
    fails(RAW | {"name": name}, "`name`")


def test_a_number_in_exponent_form_is_a_number(recipe_file):
    """YAML 1.1 reads 1e-3 as text."""
    path = recipe_file(yaml.safe_dump(RAW) + "seed: 3\n")
    assert load_recipe(path, ["policy.lr=1e-3"]).policy.lr == 0.001


# Stages and their inputs


@pytest.mark.parametrize(
    ("gone", "part"),
    [
        (["data.base"], "stage `base` needs data.base"),
        (["data.comparisons"], "stage `reward` needs data.comparisons or data.ratings"),
        (["data.demonstrations"], "stage `sft` with source demonstrations needs data.demonstrations"),
        (["reward"], "stage `policy` needs the stages `reward` and `sft`"),
        (["sft"], "stage `policy` needs the stages `reward` and `sft`"),
    ],
)
def test_a_stage_without_its_input_is_an_error(gone, part):
    fails(without(*gone), part)


def test_what_is_imitated_may_be_chosen_by_ratings():
    """Ratings become comparisons, so `chosen` needs no file of them."""
    recipe = without("data.comparisons", "data.demonstrations")
    recipe["data"]["ratings"] = "ratings.csv"
    recipe["sft"]["source"] = "chosen"
    assert parse_recipe(recipe, "tiny.yaml").stages == ["base", "reward", "sft", "policy"]
    recipe["reward"] = recipe["policy"] = recipe["data"]["ratings"] = None
    fails(recipe, "stage `sft` with source chosen needs data.comparisons or data.ratings")


@pytest.mark.parametrize("encoding", ["embedding", "text", "none"])
@pytest.mark.parametrize("kind", ["comparisons", "ratings", "demonstrations"])
def test_any_form_of_data_may_be_alone(kind, encoding):
    recipe = without("base", "data.base", "policy", "reward", *(f"data.{other}" for other in KINDS if other in RAW["data"]))
    recipe["data"][kind], recipe["raters"]["encoding"] = f"{kind}.csv", encoding
    recipe["sft"]["source"] = "demonstrations" if kind == "demonstrations" else "chosen"
    assert parse_recipe(recipe, "tiny.yaml").stages == ["sft"]


def test_a_recipe_may_have_some_stages_only():
    assert parse_recipe(without("base", "data.base", "policy", "sft", "data.demonstrations"), "tiny.yaml").stages == ["reward"]


# Overrides and files


def test_overrides_apply_in_order_and_make_sections(recipe_file):
    path = recipe_file(without("base", "vanilla"))
    changed = load_recipe(
        path, ["policy.beta=0.1", "policy.beta=0.2", "base.steps=5", "base.lr=0.1", "vanilla.rl.beta=2", "data.raters=r=1.csv"]
    )
    assert (changed.policy.beta, changed.base.steps, changed.vanilla.rl, changed.data.raters) == (0.2, 5, {"beta": 2}, "r=1.csv")
    assert load_recipe(path, ["compare.betas=[0.5, 1]", "data.ratings=null"]).compare.betas == [0.5, 1]


@pytest.mark.parametrize(
    ("override", "part"),
    [
        ("policy.beta", "must be KEY=VALUE"),
        ("=3", "must be KEY=VALUE"),
        ("policy.beta=[", "not a YAML value"),
        ("policy.beat=1", "did you mean `policy.beta`?"),
        ("policy.beta.x=1", "`policy.beta`"),
    ],
)
def test_a_bad_override_is_explained(recipe_file, override, part):
    with pytest.raises(UserError, match=re.escape(part)):
        load_recipe(recipe_file(RAW), [override])


def test_an_empty_override_drops_a_stage(recipe_file):
    assert load_recipe(recipe_file(RAW), ["policy="]).stages == ["base", "reward", "sft"]


def test_a_file_that_is_no_recipe_is_explained(tmp_path, recipe_file):
    for content, part in [("a: [", "line 1 is not YAML"), ("- a\n", "mapping of keys, not list"), ("", "mapping of keys, not NoneType")]:
        with pytest.raises(UserError, match=part):
            load_recipe(recipe_file(content))
    with pytest.raises(UserError, match="shipped recipes: .*dice"):
        load_recipe(tmp_path / "absent.yaml")
    (tmp_path / "latin.yaml").write_bytes("name: caf\u00e9".encode("latin-1"))
    with pytest.raises(UserError, match="not YAML in UTF-8"):
        load_recipe(tmp_path / "latin.yaml")


# YAML that says more, or other, than it seems to


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("name: a\nseed: 1\nname: b\n", "line 3 holds the key `name` again, after line 1"),
        ("data:\n  world: a\n  world: b\n", "line 3 holds the key `world` again, after line 2"),
        ("name: &n a\n", "line 1 holds a reference"),
        ("name: a\nruns: *n\n", "line 2 holds a reference"),
        ("a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n", "line 1 holds a reference"),
        ("<<: {name: a}\n", "a key that is no plain word"),
        ("? [a]\n: b\n", "a key that is no plain word"),
        ("name: !!python/name:os.system x\n", "holds the tag"),
        ("name: !!int x\n", "holds the tag"),
        ("name: " + "[" * 100_000, "more than 20 levels"),
        ("seed: " + "9" * 5000, "a number of 5000 characters"),
        ("seed: 1:" + "1:" * 5000 + "1", "a number of 10003 characters"),
        ("name: 2026-99-99\n", "is not YAML: month must be in 1..12"),
        ("name: \x07\n", "is not YAML: unacceptable character"),
    ],
)
def test_yaml_that_may_be_misread_or_blow_up_is_refused(recipe_file, text, says):
    with pytest.raises(UserError, match=re.escape(says)):
        load_recipe(recipe_file(text))


def test_a_recipe_is_a_file(tmp_path):
    for path, kind in (("/dev/zero", "a device, a pipe or a socket"), (tmp_path, "a folder")):
        with pytest.raises(UserError, match=f"{path} is {kind}, and a file is needed"):
            load_recipe(path)
    (tmp_path / "huge.yaml").touch()
    os.truncate(tmp_path / "huge.yaml", 10**12)
    with pytest.raises(UserError, match="has 1000000000000 bytes"):
        load_recipe(tmp_path / "huge.yaml")


@pytest.mark.parametrize("template", ["Rater: ", "{} and {}", "{:>9999999999}", "{0}", "{rater}", "{}{", "{{}}", ""])
def test_a_text_template_holds_the_id_once_and_no_format(template):
    fails(RAW | {"raters": {"encoding": "text", "text_template": template}}, "`raters.text_template` is", "'Rater {}: '")


def test_a_section_that_an_override_begins_says_what_else_it_needs(recipe_file):
    path = recipe_file(without("base"))
    with pytest.raises(UserError) as caught:
        load_recipe(path, ["base.steps=5"])
    assert "`base.lr` is missing: the recipe has no section `base`, which base.steps=5 begins; add base.lr=VALUE too" in str(caught.value)


def test_options_are_those_of_the_algorithm(recipe_file):
    path = recipe_file(RAW)
    for option, says in (
        ("choice=4", "unknown key `policy.options.choice`; did you mean `policy.options.choices`?"),
        ("choices=0", "`policy.options.choices` is 0: input should be greater than or equal to 1"),
        ("target_kl=1", "unknown key `policy.options.target_kl`"),
    ):
        for verb in (["recipes", "check", path], ["train", path, "--dry-run"], ["compare", path, "--dry-run"]):
            refused(*verb, f"policy.options.{option}", says=says)
    succeeds("recipes", "check", path, "policy.options.choices=8")
    listed = succeeds("recipes", "keys", "policy")
    assert "with policy.algorithm=rloo:\npolicy.options.target_kl = null\n" in listed and "policy.options.choices = 4" in listed


def test_rivals_are_policies_by_other_settings():
    recipe = with_rival(policy={"algorithm": "best_of_n", "samples": 3}, sweep={"options.choices": [4, 2]})
    main, other = strengths(recipe, "best")
    changed = policy_of(recipe, "best", main).policy
    assert (changed.algorithm, changed.samples, changed.steps) == ("best_of_n", 3, recipe.policy.steps)
    assert (main.folder, main.draws) == (recipe.folder / "policy-best", "new") and changed.options == {"choices": 4}
    assert other.folder == recipe.folder / "policy-best-options.choices-2"
    assert policy_of(recipe, "best", other).policy.options == {"choices": 2}
    with pytest.raises(UserError, match="compare.rivals.best.policy.sample.*did you mean"):
        policy_of(with_rival(policy={"sample": 3}), "best")


def test_rivals_are_methods_of_trl():
    recipe = with_rival(vanilla={"method": "dpo", "per_device_train_batch_size": 2}, sweep={"beta": [0.5, 1]})
    recipe = recipe.model_copy(update={"vanilla": VanillaSettings(rl={"max_steps": 3})})
    main, other = strengths(recipe, "best")
    assert (main.folder, main.draws, main.value) == (recipe.folder / "vanilla" / "rival-best", "none", 0.5)
    assert method_of(recipe, recipe.compare.rivals["best"], other) == ("dpo", {"per_device_train_batch_size": 2, "beta": 1})
    assert other.folder.name == "rival-best-beta-1"
    with pytest.raises(UserError, match="`method` of a rival is 'dpp'; it is one of .*dpo.*grpo.*rloo"):
        with_rival(vanilla={"method": "dpp"})
    with pytest.raises(UserError, match="`vanilla.method` is 'ppo'; it is one of .*dpo"):
        parse_recipe(without() | {"vanilla": {"method": "ppo"}}, "tiny.yaml")
    with pytest.raises(UserError, match="`push_to_hub` is set by the program"):
        with_rival(vanilla={"push_to_hub": True})


def test_rivals_are_vanilla_sampled_otherwise():
    recipe = with_rival(sampled={"min_p": 0.1}, sweep={"temperature": [2.0, 1.5]})
    main, other = strengths(recipe, "best")
    assert (main.folder, main.draws) == (recipe.folder / "vanilla" / "rl-beta-0.1", "none") and other.folder == main.folder
    assert [(one.sampled.temperature, one.sampled.min_p) for one in (main, other)] == [(2.0, 0.1), (1.5, 0.1)]
    with pytest.raises(UserError, match="compare.rivals.best.sweep.top_p"):
        strengths(with_rival(sampled={}, sweep={"top_p": [0.5]}), "best")


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"policy": {}, "vanilla": {}}, "one of policy, vanilla and sampled, and this one has policy and vanilla"),
        ({}, "and this one has none"),
        ({"policy": {}, "sweep": {"beta": [1], "lr": [2]}}, "it is one key and different values"),
        ({"policy": {}, "sweep": {"beta": []}}, "it is one key and different values"),
        ({"algorithm": "rloo"}, "unknown key `compare.rivals.best.algorithm`"),
    ],
)
def test_what_is_no_rival_is_refused(settings, says):
    with pytest.raises(UserError, match=says):
        with_rival(**settings)


def with_rival(**settings):
    return parse_recipe(without() | {"compare": {"rivals": {"best": settings}}}, "tiny.yaml")
