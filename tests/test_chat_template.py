"""Chat templates of strangers: one that never ends, or fills the memory, is an error within seconds."""

import sys
import time

import pytest

from raterhf.data.chat_template import SECONDS, bomb, limited_to
from raterhf.data.renderer import Renderer
from raterhf.errors import UserError
from raterhf.models.load import train_tokenizer

HELLO = [{"role": "user", "content": "Hello."}]


def rendered(template: str) -> str:
    tokenizer = train_tokenizer(["Hello."], 300)
    tokenizer.chat_template = template
    return Renderer(tokenizer, 64).prompt_text(HELLO)


@pytest.mark.parametrize(
    ("template", "says"),
    [
        (
            "{% for i in range(9999) %}{% for j in range(9999) %}{% for k in range(9999) %}{% endfor %}{% endfor %}{% endfor %}",
            "longer than",
        ),
        ("{% for i in range(9999) %}{% for j in range(9999) %}x{% endfor %}{% endfor %}", "longer than"),
        ("{% for i in range(9999) %}{{ 'x' * 1000 }}{% endfor %}", "characters of a short conversation"),
        ("{{ 10 ** 10 ** 10 }}", "raises to a power"),
        ("{{ 'x' * 99999999999 }}", "holds the number 99999999999"),
        ("{% for i in range(99999999) %}{% endfor %}", "holds the number 99999999"),
        ("{{ 'x' + 1 }}", "fails (TypeError"),
        ("{{ messages[0].content / 0 }}", "fails (TypeError"),
        ("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "fails (RecursionError"),
    ],
)
def test_a_template_that_would_not_end_is_refused(template, says):
    begun = time.process_time()
    with pytest.raises(UserError) as caught:
        rendered(template)
    assert says in str(caught.value) and "use another model" in str(caught.value)
    assert time.process_time() - begun < 10 * SECONDS


def test_a_template_as_models_have_it_is_rendered():
    text = "{% for m in messages %}{{ '<|' ~ m.role ~ '|>' }}{{ m.content | trim }}{% endfor %} 2 * 3 ** 4 of 123456"
    assert rendered(text) == "<|user|>Hello. 2 * 3 ** 4 of 123456"
    assert bomb("{{ 3 * 4096 }}{{ 1_000 }}{{ 0x10 }}") == "" and bomb("{% broken") == ""


def test_the_limit_leaves_no_trace():
    before = sys.gettrace()
    with pytest.raises(TimeoutError), limited_to(0.01):
        list(iter(lambda: time.monotonic(), None))
    with pytest.raises(TimeoutError), limited_to(0.01):
        sum(1 for _ in iter(int, 1))
    assert sys.gettrace() is before
