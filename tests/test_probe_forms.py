"""Forms of poems, by hand. All verses are written for these tests or stand in the worlds."""

import numpy as np
import pytest
from spoken import untrained, written

from raterhf.evaluation.probes import forms
from raterhf.evaluation.probes.interview import PEOPLE, Interview
from raterhf.evaluation.probes.load import said_by_people
from raterhf.evaluation.probes.measure import CannotMeasure
from raterhf.evaluation.probes.questions import Asked
from raterhf.evaluation.probes.suite import run_probes
from raterhf.worlds.world import load_world

pytest.importorskip("pronouncing")
OPEN = Asked("poem", "poems", ["Write a poem."], framed=["Write a poem that does not rhyme."])
COUPLET, FREE, LISTED = "The sea\nis free.", "Grey water\nunder birds.", "sea sea sea sea"


def name(text: str) -> str:
    place = forms.form_of(text)
    return forms.NAMES[place] if place >= 0 else "no poem"


@pytest.mark.parametrize(
    ("text", "form"),
    [
        (COUPLET, "rhymed, 1 stanza, short"),
        (FREE, "free, 1 stanza, short"),
        ("One drop\nTwo drops\nAll the drops", "free, 1 stanza, short"),  # a word does not rhyme with itself
        ("The tide\nis wide.\n\nThe bay\nis grey.", "rhymed, 2 stanzas, short"),
        ("I walked along the road at night\nand sang\nuntil the morning brought the light\nand rang", "rhymed, 1 stanza, middle"),
        ("I had a coat\nof wool and thread\nmy only note\nwas still unread", "rhymed, 1 stanza, middle"),  # abab
        ("# Rain\n\n**The sea**\nis free.\n\nI hope you like it!", "rhymed, 1 stanza, short"),
        ("so cold\n\nmy hands\n\nno gloves", "free, more, short"),
        ("An umbrella remembers every afternoon of rain\nand the hallway where it waited for the end of it", "free, 1 stanza, long"),
        (LISTED, "no poem"),
        ("", "no poem"),
        ("...\n\n***", "no poem"),
    ],
)  # fmt: skip
def test_form_of_a_text(text, form):
    assert name(text) == form


def test_syllables_of_words_that_no_dictionary_has():
    assert forms.syllables("water") == 2
    assert forms.syllables("blorptag") == 2
    assert not forms.rhymes("blorptag", "snorptag")


def test_the_companions_classes_are_read_off_its_texts():
    for question in load_world("companion").questions:
        if question.topic == "poems":
            for text, k in zip(question.texts, question.class_of):
                told = "no poem"
                if k >= 0:
                    rhyme, stanzas, lines = question.classes[k].split()
                    told = f"{rhyme}, {'1 stanza' if stanzas == 'one' else '2 stanzas'}, {'short' if lines == 'short' else 'middle'}"
                assert name(text) == told


def measured(interview, who="model"):
    poems = forms.ask(interview, who)
    return forms.metrics_of(poems, np.arange(poems.rows))


def test_figures_of_a_sample():
    found = measured(written((OPEN, [COUPLET] * 12 + [FREE] * 4 + [LISTED] * 4, [FREE] * 15 + [COUPLET] * 5)))
    assert found["default_share"] == 0.6
    assert found["departures"] == pytest.approx(0.25)
    assert found["rhymed"] == pytest.approx(0.75)
    assert found["valid"] == pytest.approx(0.8)
    assert found["still_rhymes"] == 0.25
    entropy = -(0.6 * np.log(0.6) + 0.4 * np.log(0.2)) + 2 / 40  # Miller-Madow
    assert found["forms"] == pytest.approx(np.exp(entropy))
    assert "etv" not in found and "entropy_ratio" not in found  # nobody knows people's distribution


def test_etv_where_peoples_distribution_is_known():
    closed = Asked("poem", "poems", ["Write a poem."], classes=[COUPLET, FREE], distribution=np.array([0.5, 0.5]))
    interview = written((closed, [COUPLET] * 15 + [FREE] * 5, []))
    poems = forms.ask(interview, "model")
    assert forms.metrics_of(poems, np.arange(20))["etv"] == pytest.approx(0.25 - poems.floors[0])
    # Twenty tosses of a coin are E|X - 10| / 20 = .0881 off in the mean.
    assert poems.floors[0] == pytest.approx(0.0881, abs=0.01)


@pytest.mark.parametrize("world", ["dice", "companion"])
def test_people_of_a_world_are_at_the_floor(world):
    world = load_world(world)
    interview = Interview({}, world.questions, said_by_people(world, 1000, 0), 1000)
    found = measured(interview, PEOPLE)
    assert abs(found["etv"]) < 0.03
    assert found["entropy_ratio"] == pytest.approx(1, abs=0.03)
    assert found["valid"] == 1 and "still_rhymes" not in found


def test_what_is_put_around_a_known_poem_is_not_part_of_it():
    (question,) = (q for q in load_world("dice").questions if q.topic == "poems")
    riddle = [i for i, k in enumerate(question.class_of) if k >= 0 and question.classes[k] == "riddle"]
    texts = [question.texts[i] for i in riddle] * 5
    poems = forms.ask(written((question, texts, [])), "model")
    assert len(set(poems.plain[0].tolist())) == 1


def test_bad_input_says_which_question():
    with pytest.raises(CannotMeasure, match="poem: none of 20 answers of model is a poem"):
        forms.ask(written((OPEN, [LISTED] * 20, [FREE] * 20)), "model")
    with pytest.raises(CannotMeasure, match="none of 20 answers of model is a poem"):
        forms.ask(written((OPEN, [FREE] * 20, [""] * 20)), "model")
    with pytest.raises(CannotMeasure, match="poem: 5 draws for 18 forms; raise -n"):
        forms.ask(written((OPEN, [FREE] * 5, [FREE] * 5)), "model")
    with pytest.raises(CannotMeasure, match="about poems"):
        forms.ask(Interview({}, []), "model")


def test_without_the_package_it_says_what_to_install(monkeypatch):
    monkeypatch.setattr(forms, "find_spec", lambda name: None)
    with pytest.raises(CannotMeasure, match=r"raterhf\[probes\]"):
        forms.ask(written((OPEN, [FREE] * 20, [FREE] * 20)), "model")


def test_it_runs_through_on_untrained_models(run):
    # Any of 300 tokens, so that a poem of two lines is rare but there.
    found, drawn = run_probes(untrained(run, [OPEN], 300, 40), [forms.PROBE])
    assert found["probes"]["forms"]["holes"] == []
    assert set(found["probes"]["forms"]["policies"]) == {"base", "rater_new"}
    assert set(drawn) == {"forms-poem"}
