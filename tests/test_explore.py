"""The page of `raterhf explore`: who may ask it, what it answers, and that it changes nothing."""

import base64
import hashlib
import json
import re
import shutil
import socket
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import uvicorn
from explored import COIN, DIE, save_explored
from small_run import fails, rows_of, succeeds
from starlette.testclient import TestClient

import raterhf
from raterhf.explore import answers, browser, files, jury, multiverse, person, server, space, unrolled
from raterhf.explore.answers import spread
from raterhf.explore.app import make_app
from raterhf.explore.asked import AskedAnswers, AskedMap
from raterhf.explore.opened import Opened, whole
from raterhf.explore.queue import Queue, Stopped
from raterhf.explore.static import Kept, key_of
from raterhf.explore.work import WORKS, Work
from raterhf.raters.pool import Rater

TOKEN, PORT = "t0ken", 8765


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    return save_explored(tmp_path_factory.mktemp("explored"))


@pytest.fixture(scope="module")
def opened(home) -> Opened:
    return Opened(raterhf.open(home))


@pytest.fixture(scope="module")
def client(opened):
    queue = Queue()
    with TestClient(make_app(opened, queue, PORT, TOKEN), base_url=f"http://127.0.0.1:{PORT}") as made:
        yield made
    queue.close()


def events(client, name: str, body: dict) -> list[tuple[str, object]]:
    reply = client.post(f"/{TOKEN}/api/{name}", json=body)
    assert reply.status_code == 200, reply.text
    return [(kind, json.loads(data)) for kind, data in re.findall(r"event: (\w+)\ndata: (.*)\n\n", reply.text)]


def result(client, name: str, body: dict):
    kind, data = events(client, name, body)[-1]
    assert kind == "done", data
    return data


def failure(client, name: str, body: dict) -> str:
    kind, data = events(client, name, body)[-1]
    assert kind == "failed"
    return str(data)


# Who may ask


def test_the_page_and_its_files_are_served_under_a_policy(client):
    page = client.get(f"/{TOKEN}/")
    assert page.status_code == 200 and "<title>raterhf: tiny</title>" in page.text
    policy = page.headers["content-security-policy"]
    assert (
        "script-src 'self'; style-src 'self'" in policy
        and "default-src 'none'" in policy
        and "unsafe" not in policy
        and "frame-ancestors 'none'" in policy
    )
    assert page.headers["referrer-policy"] == "no-referrer" and page.headers["cache-control"] == "no-store"
    assert not [name for name in page.headers if name.startswith("access-control")]
    assert re.findall(r'(?:src|href)="(\./.*?)"', page.text) == ["./page/colours.css", "./page/page.css", "./page/page.js"]
    for path in ("./page/colours.css", "./page/page.css", "./page/page.js"):
        reply = client.get(f"/{TOKEN}/{path[2:]}")
        assert reply.status_code == 200 and reply.headers["x-content-type-options"] == "nosniff"
    assert "--raters: #0069a8" in client.get(f"/{TOKEN}/page/colours.css").text


@pytest.mark.parametrize(
    ("path", "headers", "status", "says"),
    [
        ("/", {}, 404, "this address is not whole"),
        ("/t0kem/", {}, 404, "this address is not whole"),
        (f"/{TOKEN}/", {"Host": "evil.example:8765"}, 403, "the host 'evil.example:8765' is not this machine's"),
        (f"/{TOKEN}/", {"Host": "127.0.0.1:9"}, 403, "is not this machine's"),
        (f"/{TOKEN}/", {"Origin": "http://evil.example"}, 403, "the page at 'http://evil.example' may not ask"),
        (f"/{TOKEN}/", {"Origin": "null"}, 403, "may not ask"),
        (f"/{TOKEN}/", {"Sec-Fetch-Site": "cross-site"}, 403, "a page of another site may not ask"),
        (f"/{TOKEN}/page/app.py", {}, 404, "the page has no file 'app.py'"),
        (f"/{TOKEN}/page/..%2fapp.py", {}, 404, ""),
    ],
)
def test_who_may_not_ask(client, path, headers, status, says):
    reply = client.get(path, headers=headers)
    assert reply.status_code == status and says in reply.text
    assert "default-src 'none'" in reply.headers["content-security-policy"]


def test_its_own_page_may_ask_by_both_names(client):
    for host in (f"127.0.0.1:{PORT}", f"localhost:{PORT}"):
        reply = client.get(f"/{TOKEN}/", headers={"Host": host, "Origin": f"http://{host}", "Sec-Fetch-Site": "same-origin"})
        assert reply.status_code == 200


@pytest.mark.parametrize(
    ("name", "body", "status", "says"),
    [
        ("ask", b'{"prompt": "Roll a die.", "n": 65}', 400, "n: input should be less than or equal to 64"),
        ("ask", b'{"prompt": ""}', 400, "prompt: string should have at least 1 character"),
        ("ask", json.dumps({"prompt": "x" * 8001}).encode(), 400, "prompt: string should have at most 8000"),
        ("ask", b'{"prompt": "x", "n": "3"}', 400, "n: input should be a valid integer"),
        ("ask", b'{"prompt": "x", "folder": "/"}', 400, "folder: extra inputs are not permitted"),
        ("ask", b"{", 400, "the request is no JSON; reload the page"),
        ("ask", b"[" * 100_000, 400, "the request is no JSON"),
        ("ask", b" " * (2**20 + 1), 400, "longer than 1048576 bytes"),
        ("read", b'{"prompt": "x", "said": [-1]}', 400, "said.0: input should be greater than or equal to 0"),
        ("jury", b'{"prompt": "x", "answers": ["a"]}', 400, "answers: list should have at least 2"),
        ("tree", b'{"prompt": "x", "least": 0}', 400, "least: input should be greater than or equal to 0.002"),
        ("export", b"{}", 404, "nothing is asked by the name 'export'"),
    ],
)
def test_what_may_not_be_asked(client, name, body, status, says):
    reply = client.post(f"/{TOKEN}/api/{name}", content=body, headers={"Content-Type": "application/json"})
    assert reply.status_code == status and says in reply.json()["error"]


def test_a_form_of_another_page_cannot_ask(client):
    reply = client.post(f"/{TOKEN}/api/ask", content=b'{"prompt": "x"}', headers={"Content-Type": "text/plain"})
    assert reply.status_code == 415
    assert client.get(f"/{TOKEN}/api/ask").status_code == 405


def test_nothing_on_the_page_is_read_as_markup():
    sources = list((Path(files.__file__).parent / "web" / "src").glob("*.js"))
    assert len(sources) > 10
    for path in sources:
        assert not re.search(
            r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|new Function|\.html\(|https?://(?!www\.w3\.org/2000/svg)",
            path.read_text("utf-8"),
        ), path.name


# Ask


def test_answers_are_those_of_sample_and_grow(client, opened, home):
    told = events(client, "ask", {"prompt": DIE, "rater": "new", "n": 3, "seed": 1})
    printed = rows_of(succeeds("sample", home, "--prompt", DIE, "--rater", "new", "-n", 3, "--seed", 1))
    kinds = [kind for kind, _ in told]
    assert kinds[:2] == ["queued", "people"] and kinds[-2:] == ["answers", "done"] and set(kinds[2:-2]) == {"grown"}
    assert told[1][1] == [row["rater"] for row in printed]
    assert [(one["rater"], one["text"]) for one in told[-2][1]] == [(row["rater"], row["completion"]) for row in printed]
    last: dict[str, str] = {}
    for kind, data in told:
        last |= data if kind == "grown" else {}
    assert [last[str(i)] for i in range(3)] == [whole(row["completion"]) for row in printed]
    assert told[-1][1]["totals"] == {"people": 3, "real": 3} and told[-1][1]["stage"] == "policy"


def test_one_person_is_asked_several_times(client):
    told = dict(events(client, "ask", {"prompt": DIE, "rater": "new:7", "n": 4}))
    assert told["people"] == ["new:7"] * 4 and len(told["answers"]) == 4


def test_answers_are_counted_without_case_and_punctuation(opened):
    found = spread(opened, DIE, {"people": ["Six.", "six", "1", "2"], "real": ["1", "!"]})
    assert found["totals"] == {"people": 4, "real": 2}
    assert [(row["group"], row["counts"]) for row in found["rows"]] == [
        ("six", {"people": 2, "real": 0}), ("1", {"people": 1, "real": 1}), ("2", {"people": 1, "real": 0}),
        ("!", {"people": 0, "real": 1}),
    ]  # fmt: skip
    assert opened.real_answers(DIE) == ["6", " 6. ", "1"] and opened.real_answers("Who?") == []
    assert opened.prompts == [DIE, COIN] and opened.label_counts == Counter(cy=6, ann=5, bob=5)


def test_more_answers_than_a_page_shows_are_refused(client, monkeypatch):
    monkeypatch.setattr(answers, "MOST_ANSWERS", 5)
    assert "rater 'all' with 2 answers of each is 6 answers" in failure(client, "ask", {"prompt": DIE, "rater": "all", "n": 2})
    assert len(dict(events(client, "ask", {"prompt": DIE, "rater": "all", "n": 1}))["answers"]) == 3


def test_an_unknown_rater_is_a_sentence(client):
    assert "rater 'anne' is not known to this run (3 raters; nearest: ann" in failure(client, "ask", {"prompt": DIE, "rater": "anne"})


# Map


def test_the_map_is_principal_components(client, opened):
    found = result(client, "map", {})
    vectors = opened.run.raters.vectors.astype(float)
    centred = vectors - vectors.mean(0)
    _, values, axes = np.linalg.svd(centred, full_matrices=False)
    at = np.array([one["at"] for one in found["known"]])
    assert np.abs(at) == pytest.approx(np.abs(centred @ axes.T), abs=1e-3) and found["shown"] == 1.0
    assert [(one["id"], one["group"], one["labels"]) for one in found["known"]] == [
        ("ann", "north", 5),
        ("bob", "south", 5),
        ("cy", "south", 6),
    ]
    assert [(one["name"], one["members"]) for one in found["centres"]] == [("group:south", 2), ("persona:sailor", 2)]
    plane = space.plane_of(opened.run.raters)
    seventh = opened.run.raters.fictitious(7).vector[:2]
    assert found["numbered"][7] == pytest.approx(plane.place(seventh), abs=1e-3) and len(found["numbered"]) == space.NUMBERED
    # Two components of two dimensions are a rotation: nobody's nearest people change.
    assert (found["by"], found["kept"], found["nearest"], found["dims"]) == ("pca", 1.0, 10, 2)
    for rater in ("ann", "new:7"):
        assert (
            dict(events(client, "person", {"rater": rater}))["who"]["at"]
            == {"ann": found["known"][0]["at"], "new:7": found["numbered"][7]}[rater]
        )


def test_neighbours_are_counted(monkeypatch):
    monkeypatch.setattr(space, "NEAREST", 1)
    line = np.array([[0.0, 0], [1, 0], [3, 0], [3.5, 0]])
    assert space.neighbours_kept(line, line * 2) == 1.0
    # On the map the two pairs are broken up: each one's nearest is of the other pair.
    assert space.neighbours_kept(line, np.array([[0.0, 0], [5, 0], [0.1, 0], [5.1, 0]])) == 0.0
    monkeypatch.setattr(space, "NEAREST", 2)
    # Nearest two: {1, 2}, {0, 2}, {3, 1}, {2, 1}; after the second and the fourth swap places {3, 2}, {2, 3}, {3, 1}, {0, 2}.
    swapped = line[[0, 3, 2, 1]]
    assert space.neighbours_kept(line, swapped) == pytest.approx((1 + 1 + 2 + 1) / 8)


@pytest.mark.slow  # numba compiles for half a minute
def test_umap_is_another_map_of_the_same_people(home):
    pytest.importorskip("umap")
    kept = Kept(Opened(raterhf.open(home)))
    found = kept.ask("map", {"by": "umap"})
    at = np.array(found["numbered"])
    assert found["by"] == "umap" and len(found["known"]) == 3 and at.shape == (space.NUMBERED, 2) and np.isfinite(at).all()
    assert 0.3 < found["kept"] < 1
    # A person with a mark stands at it, whoever has none is placed beside those near them, and twice is the same.
    kept.ask("person", {"rater": "new:7", "by": "umap"})
    who = dict(kept.events[key_of("person", {"rater": "new:7", "by": "umap"})])["who"]
    assert who["at"] == found["numbered"][7]
    steps = kept.ask("path", {"a": "ann", "b": "new:7", "by": "umap"})
    assert steps[0]["at"] == found["known"][0]["at"] and steps[-1]["at"] == found["numbered"][7] and len(steps) == 5
    assert Kept(Opened(raterhf.open(home))).ask("map", {"by": "umap"}) == found


def test_umap_without_its_package_is_a_sentence(home, monkeypatch):
    monkeypatch.setattr(unrolled, "find_spec", lambda name: None)
    with pytest.raises(raterhf.UserError, match=r"needs the package umap-learn, which is not installed: pip install 'raterhf\[umap\]'"):
        Kept(Opened(raterhf.open(home))).ask("map", {"by": "umap"})


def test_whom_others_are_compared_with_is_scored_once(home, monkeypatch):
    opened = Opened(raterhf.open(home))
    kept, scored, score = Kept(opened), [], opened.run.score
    monkeypatch.setattr(opened.run, "score", lambda pairs, raters, seed: scored.append(raters) or score(pairs, raters, seed))
    for rater in ("ann", "bob", "new:7"):  # as a pointer goes over the map
        kept.ask("person", {"rater": rater})
    assert scored == [person.OTHERS, "ann", "bob", "new:7"]


def test_a_walk_goes_straight_and_its_people_can_be_asked(client, opened):
    steps = result(client, "path", {"a": "ann", "b": "new:7"})
    assert [steps[0]["rater"], steps[-1]["rater"]] == ["ann", "new:7"] and len(steps) == 5
    ends = [opened.one(name).vector[:2] for name in ("ann", "new:7")]
    assert opened.one(steps[1]["rater"]).vector[:2] == pytest.approx(0.75 * ends[0] + 0.25 * ends[1], abs=1e-3)
    assert result(client, "ask", {"prompt": DIE, "rater": steps[2]["rater"], "n": 1}) == {"stage": "policy"}  # one answer has no spread
    assert "both ends are ann" in failure(client, "path", {"a": "ann", "b": "ann"})
    assert "nobody in particular" in failure(client, "path", {"a": "ann", "b": "none"})
    assert "stands for 3 people" in failure(client, "path", {"a": "ann", "b": "all"})


def test_a_person_is_met(client, opened, monkeypatch):
    told = dict(events(client, "person", {"rater": "ann"}))
    assert told["who"] == {
        "rater": "ann",
        "at": told["who"]["at"],
        "known": True,
        "labels": 5,
        "group": "north",
        "personas": ["sailor"],
        "inferred": False,
    }
    assert [one["prompt"] for one in told["says"]] == [DIE, COIN]
    likes = told["done"]["likes"]
    assert likes["of"] == 5 and likes["most"][0]["more"] >= likes["most"][1]["more"] >= likes["least"][0]["more"]
    # By hand: a rater's scores over each prompt's mean, less the others' mean.
    pairs = opened.candidates(person.CANDIDATES)
    table = opened.run.score(pairs, ["ann", person.OTHERS], 0).to_numpy()
    margins = table - table.mean(1, keepdims=True)
    assert likes["most"][0]["more"] == pytest.approx((margins[0] - margins[1:].mean(0)).max(), abs=0.006)


# Multiverse


def test_a_text_is_read_with_the_probabilities_of_sampling(client, opened):
    policy, who = opened.run.policy, opened.one("ann")
    said = policy.renderer.example(DIE, "1 2").ids[len(policy.renderer.prompt(DIE)) : -1]
    found = result(client, "read", {"prompt": DIE, "said": list(said), "voice": "ann"})
    for t in range(len(said)):
        exact = np.exp(policy.next_distributions([policy.renderer.prompt(DIE) + said[:t]], [who])[0])
        assert found["steps"][t]["p"] == pytest.approx(exact[said[t]], rel=1e-3)
        assert found["steps"][t]["ways"][0]["id"] == int(exact.argmax())
    assert "".join(step["text"] for step in found["steps"]) == "1 2"
    in_words = result(client, "read", {"prompt": DIE, "text": "1 2", "voice": "ann"})
    assert [step["id"] for step in in_words["steps"]] == list(said)


def test_everyone_counts_by_what_they_would_have_said():
    # Two people, two tokens: the first says token 0 with .8 and .2; after it token 1 with .5 and 1.
    along = np.log(np.array([[[0.8, 0.2], [0.5, 0.5], [1 - 1e-9, 1e-9]], [[0.2, 0.8], [1e-9, 1 - 1e-9], [1 - 1e-9, 1e-9]]]))
    weights = multiverse._weights(along, (0, 1))
    assert (
        weights[:, 0] == pytest.approx([0.5, 0.5])
        and weights[:, 1] == pytest.approx([0.8, 0.2])
        and weights[:, 2] == pytest.approx([2 / 3, 1 / 3])
    )
    never = multiverse._weights(np.full((2, 2, 2), -np.inf), (0,))
    assert never[:, 1] == pytest.approx([0.5, 0.5])


def test_a_tree_and_how_it_goes_on(client, opened):
    told = events(client, "tree", {"prompt": DIE, "voice": "everyone", "n": 4, "least": 0.1})
    root = told[-1][1]["tree"]
    assert told[-1][1]["people"] == 4 and root["p"] == 1.0 and [kind for kind, _ in told].count("level") >= 1
    everything = root["ends"] + sum(way["p"] for way in root["ways"])
    assert everything <= 1 + 1e-3 and all(way["p"] >= 0.1 for way in root["ways"])
    body = {"prompt": DIE, "voice": "new:7", "seed": 3}
    first = result(client, "go", body)
    (answer,) = opened.run.sample(DIE, "new:7", seed=3)
    assert (first["text"], first["rater"]) == (answer.completion, "new:7")
    later = result(client, "go", body | {"said": first["ids"][:1]})
    assert later == result(client, "go", body | {"said": first["ids"][:1]}) and later["ids"][:1] == first["ids"][:1]
    everyone = result(client, "go", {"prompt": DIE, "seed": 3})
    assert everyone["rater"] == opened.run.raters.resolve("new", 1, 3)[0].id


def test_tokens_that_make_up_one_character_show_it_once(client, opened):
    # The tiny tokenizer knows bytes: é is two tokens, 🎲 four.
    text = "1é🎲2"
    steps = result(client, "read", {"prompt": DIE, "text": text, "voice": "ann"})["steps"]
    assert [step["text"] for step in steps] == ["1", "", "é", "", "", "", "🎲", "2"]
    assert whole("a\ufffd\ufffd") == "a" and whole("a") == "a"


def test_no_begun_character_is_told_while_an_answer_grows(opened, monkeypatch):
    kept, told = Kept(opened), []
    monkeypatch.setattr(kept, "tell", lambda kind, data: told.append((kind, data)))
    grown, said = {0: "\ufffd", 1: "a\ufffd"}, opened.run.sample(DIE, n=2)
    monkeypatch.setattr(opened.run, "sample", lambda *given, heard: heard(grown) or said)
    answers.ask(opened, AskedAnswers(prompt=DIE, n=2), kept)
    assert ("grown", {0: "", 1: "a"}) in told


def test_mistakes_in_the_multiverse(client):
    assert "no vanilla model lies in the run" in failure(client, "read", {"prompt": DIE, "voice": "vanilla"})
    assert "token 99999 is none of the" in failure(client, "read", {"prompt": DIE, "voice": "ann", "said": [99999]})
    assert "the model's window (model.max_length) is 48" in failure(client, "read", {"prompt": DIE, "voice": "ann", "said": [3] * 60})
    assert "in words, not both" in failure(client, "read", {"prompt": DIE, "voice": "ann", "said": [3], "text": "1"})


# Jury and You


def test_a_jury_decides_as_score_does(client, opened, home, tmp_path):
    three = ["1", "2 3", "6"]
    found = result(client, "jury", {"prompt": DIE, "answers": three, "n": 8, "seed": 2})
    scored = opened.run.score([(DIE, answer) for answer in three], "new:8x", 2)
    assert found["jurors"] == list(scored.index)
    assert np.array(found["margins"]) == pytest.approx(scored.to_numpy() - scored.to_numpy().mean(1, keepdims=True), abs=1e-3)
    (tmp_path / "answers.csv").write_text("prompt,completion\n" + "".join(f"{DIE},{answer}\n" for answer in three))
    printed = succeeds("score", home, tmp_path / "answers.csv", "--raters", "new:8x", "--seed", 2, "--verdict", "borda").splitlines()
    (borda,) = [rule for rule in found["rules"] if rule["rule"] == "borda"]
    assert borda["verdict"] == pytest.approx([float(line.split(",")[1]) for line in printed[1:]], abs=1e-3)
    assert len(result(client, "jury", {"prompt": DIE, "answers": three, "raters": "all"})["jurors"]) == 3
    assert "two answers are the same" in failure(client, "jury", {"prompt": DIE, "answers": ["1", "1"]})


def test_who_objects_and_what_they_like_instead():
    margins = np.array([[2.0, -2.0], [-1.0, 1.0], [-3.0, 3.0], [0.5, -0.5]])
    found = jury._objectors(margins, margins.argmax(1), ["a", "b", "c", "d"], 0)
    assert found == [{"rater": "c", "margin": -3.0, "likes": 1}, {"rater": "b", "margin": -1.0, "likes": 1}]


def test_you_are_placed_by_what_you_prefer(client, opened):
    nobody = result(client, "you", {"labels": []})
    assert nobody["unknown"] == pytest.approx(1.0, abs=0.02) and nobody["question"]["prompt"] == DIE and nobody["labels"] == 0
    pair = nobody["question"]
    label = {key: pair[key] for key in ("prompt", "a", "b")} | {"label": 1}
    after = result(client, "you", {"labels": [label]})
    (fitted,) = opened.run.fit_rater(pd.DataFrame([label]), "you")
    assert opened.one(after["rater"]).vector[:2] == pytest.approx(fitted.mean, abs=1e-3)
    assert after["unknown"] < nobody["unknown"] and after["labels"] == 1
    again = after["question"]
    assert again is None or {again["a"], again["b"]} != {pair["a"], pair["b"]}
    many = [label | {"b": f"{i} {i}"} for i in range(10)]
    assert result(client, "you", {"labels": many})["question"] is None


# Runs that lack something


def test_raters_by_text_have_no_map_and_answer_all_the_same(text_run):
    kept = Kept(Opened(raterhf.open(text_run)))
    about = kept.ask("about", {})
    assert "there is no space to draw" in about["no_map"] and about["prompts"] == [] and "cannot be read" in about["no_data"]
    assert kept.ask("ask", {"prompt": DIE, "n": 2})["totals"] == {"people": 2}
    assert kept.ask("tree", {"prompt": DIE, "n": 2, "least": 0.1})["tree"]["p"] == 1.0
    assert kept.ask("person", {"rater": "ann"})["likes"] is None
    for name, body in (("map", {}), ("you", {"labels": []})):
        with pytest.raises(raterhf.UserError, match="no space to draw"):
            kept.ask(name, body)


def test_a_run_without_raters_is_nobody(run):
    kept = Kept(Opened(raterhf.open(run / "base")))
    about = kept.ask("about", {})
    assert not about["knows"] and not about["scores"] and about["no_map"]
    assert kept.ask("ask", {"prompt": DIE, "rater": "none", "n": 2})["totals"] == {"people": 2}
    assert kept.ask("read", {"prompt": DIE, "voice": "everyone"})["people"] == 1


def test_a_run_without_a_policy_has_a_map_a_jury_and_you(home, tmp_path):
    alone = Path(shutil.copytree(home / "reward", tmp_path / "alone" / "reward")).parent
    for folder in (alone, alone / "reward"):
        kept = Kept(Opened(raterhf.open(folder)))
        about = kept.ask("about", {})
        assert (about["answers"], about["scores"], about["vanilla"], about["prompts"]) == (False, True, False, [DIE, COIN])
        assert "policy" in about["no_answers"] and about["no_vanilla"]
        assert len(kept.ask("map", {})["known"]) == 3 and kept.ask("person", {"rater": "ann"})["likes"]["of"] == 5
        assert len(kept.ask("jury", {"prompt": DIE, "answers": ["1", "6"], "n": 4})["jurors"]) == 4
        assert kept.ask("you", {"labels": []})["question"]["prompt"] == DIE
        with pytest.raises(raterhf.UserError, match="policy"):
            kept.ask("ask", {"prompt": DIE})
    fails("explore", alone, "--static", tmp_path / "page.html", "--prompt", DIE, says="policy or sft or base is needed")


def test_vanilla_stands_beside_the_people(tmp_path):
    opened = Opened(raterhf.open(save_explored(tmp_path, vanilla=True)))
    kept = Kept(opened)
    assert kept.ask("about", {})["vanilla"]
    found = kept.ask("ask", {"prompt": DIE, "n": 3, "seed": 5})
    texts = opened.vanilla.texts(opened.vanilla.answer([DIE] * 3, [Rater("none", None)] * 3, 5))
    assert found["totals"]["vanilla"] == 3
    counts = Counter(opened.group_of(DIE, text) for text in texts)
    assert {row["group"]: row["counts"]["vanilla"] for row in found["rows"] if row["counts"]["vanilla"]} == counts
    assert kept.ask("read", {"prompt": DIE, "said": [5], "voice": "vanilla"})["people"] == 1


def test_a_run_is_read_and_not_written(client, home, tmp_path):
    # The last of the tests that ask `client`: what all of them asked left no trace.
    result(client, "about", {})
    names = sorted(str(path.relative_to(home)) for path in home.rglob("*"))
    again = save_explored(tmp_path)
    for stage in ("policy", "reward"):
        (again / stage / "recipe.resolved.yaml").write_text((home / stage / "recipe.resolved.yaml").read_text())
    assert names == sorted(str(path.relative_to(again)) for path in again.rglob("*"))
    assert all((home / name).read_bytes() == (again / name).read_bytes() for name in names if (home / name).is_file())


@contextmanager
def served(opened: Opened):
    """The port of a server of its own, as `raterhf explore` runs it."""
    taken, queue = server.bind(0), Queue()
    port = taken.getsockname()[1]
    made = uvicorn.Server(uvicorn.Config(make_app(opened, queue, port, TOKEN), log_level="warning", lifespan="off"))
    thread = threading.Thread(target=made.run, kwargs={"sockets": [taken]})
    thread.start()
    try:
        yield port
    finally:
        made.should_exit = True
        thread.join(60)
        queue.close()


@contextmanager
def tab(port: int, name: str, body: dict):
    """A connection on which a request was sent, and which is closed as when a tab is."""
    with socket.create_connection(("127.0.0.1", port), timeout=60) as page:
        content = json.dumps(body).encode()
        head = [f"POST /{TOKEN}/api/{name} HTTP/1.1", f"Host: 127.0.0.1:{port}", "Content-Type: application/json"]
        page.sendall(("\r\n".join([*head, f"Content-Length: {len(content)}", "Connection: close"]) + "\r\n\r\n").encode() + content)
        yield page


@pytest.mark.parametrize("telling", [False, True], ids=["in silence", "while it tells"])
def test_a_request_whose_page_has_gone_stops_computing(opened, monkeypatch, telling):
    begun, stopped = threading.Event(), threading.Event()

    def endless(opened, asked, job):
        begun.set()
        try:
            while True:
                job.tell("grown", {"0": "more"}) if telling else job.check()
                time.sleep(0.001)
        except Stopped:
            stopped.set()
            raise

    monkeypatch.setitem(WORKS, "map", Work(AskedMap, endless))
    with served(opened) as port:
        with tab(port, "map", {}) as page:
            assert b"200 OK" in page.recv(4096) and begun.wait(60) and not stopped.is_set()
        assert stopped.wait(60)


def test_many_tabs_at_once_are_answered_as_one_is_and_some_are_closed(home, opened):
    asked = [("ask", {"prompt": DIE, "n": 8, "seed": 4}), ("tree", {"prompt": DIE}), ("person", {"rater": "new:7"}), ("map", {})]
    asked += [("jury", {"prompt": DIE, "answers": ["1", "6"]}), ("you", {"labels": []}), ("go", {"prompt": DIE, "seed": 3})]
    alone = Kept(Opened(raterhf.open(home)))
    expected = [alone.ask(name, body) for name, body in asked]

    def whole(name: str, body: dict) -> object:
        with tab(port, name, body) as page:
            text = b"".join(iter(lambda: page.recv(65536), b"")).decode()
        (done,) = re.findall(r"event: done\ndata: (.*)\n", text)
        return json.loads(done)

    def closed(name: str, body: dict) -> None:
        with tab(port, name, body) as page:
            page.recv(1)

    with served(opened) as port, ThreadPoolExecutor(10) as people:
        for _ in range(2):
            leaving = [people.submit(closed, "ask", {"prompt": DIE, "n": 64, "seed": seed}) for seed in range(3)]
            found = [people.submit(whole, name, body) for name, body in asked]
            for one in leaving:
                one.result(60)
            assert [json.loads(json.dumps(one.result(60))) for one in found] == json.loads(json.dumps(expected))


# Share, and the command line


def test_a_page_of_one_file_holds_what_it_would_ask(home, tmp_path):
    out = succeeds("explore", home, "--static", tmp_path / "page.html", "--prompt", DIE, "--prompt", "</script><b>", "-n", 3)
    assert out.splitlines()[-1] == str(tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text("utf-8")
    (held,) = re.findall(r'<script type="application/json" id="kept">(.*?)</script>', page, re.S)
    kept = json.loads(held)
    assert kept[key_of("about", {})][-1][1]["fixed"] == {"rater": "new", "n": 3, "seed": 0}
    told = dict(kept[key_of("ask", {"prompt": DIE, "rater": "new", "n": 3, "seed": 0})])
    printed = rows_of(succeeds("sample", home, "--prompt", DIE, "-n", 3))
    assert [one["text"] for one in told["answers"]] == [row["completion"] for row in printed]
    assert key_of("ask", {"prompt": "</script><b>", "rater": "new", "n": 3, "seed": 0}) in kept and "<b>" not in page
    assert key_of("person", {"rater": told["people"][0], "seed": 0, "by": "pca"}) in kept
    assert key_of("read", {"prompt": DIE, "said": [], "voice": "everyone", "seed": 0}) in kept
    (script,) = re.findall(r'<script type="module">(.*?)</script>', page, re.S)
    (styles,) = re.findall(r"<style>(.*?)</style>", page, re.S)
    (policy,) = re.findall(r'<meta http-equiv="Content-Security-Policy" content="(.*?)">', page)
    for text in (script, styles):  # which alone runs and is shown
        assert f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'" in policy
    assert "default-src 'none'" in policy and "unsafe" not in policy
    markup = page.replace(script, "").replace(styles, "").replace(held, "")
    assert not re.search(r'(src|href)="(?!data:)', markup)


def test_what_the_page_says_of_everyone_is_who_is_asked(client):
    said = result(client, "about", {})["everyone"]
    assert said == result(client, "read", {"prompt": DIE})["people"] == result(client, "tree", {"prompt": DIE})["people"] == 16


def test_one_request_has_one_writing():
    # As JSON.stringify writes it, keys in order.
    assert key_of("ask", {"seed": 0, "prompt": 'a "b"\né'}) == 'ask {"prompt":"a \\"b\\"\\né","seed":0}'
    assert key_of("tree", {"least": 0.02, "said": [1, 2]}) == 'tree {"least":0.02,"said":[1,2]}'


def test_mistakes_on_the_command_line(home, run, tmp_path, monkeypatch):
    fails("explore", tmp_path / "nowhere", says="does not exist")
    fails("explore", home, "--prompt", DIE, says="--prompt without --static")
    fails("explore", run, "--static", tmp_path / "page.html", says="no question for the page")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        fails("explore", home, "--port", port, says=f"port {port} of this machine is taken")
    monkeypatch.setattr(browser, "find_spec", lambda name: None)
    fails("bench", "explore", home, says="the package playwright, which is not installed: pip install 'raterhf[browser]'")
    fails("bench", "explore", run, says="no question to ask, and the run's data cannot be read for one; give --prompt TEXT")
    monkeypatch.setattr(server, "find_spec", lambda name: None)
    fails("explore", home, says="needs the package starlette and uvicorn, which is not installed: pip install 'raterhf[explore]'")
