"""Keys are masked, whatever a text does to them, and ordinary text is left alone."""

from __future__ import annotations

import base64
import random
import string
import sysconfig
from itertools import islice
from pathlib import Path
from urllib.parse import quote

import pytest

from ipyllm.text.format import shorten
from ipyllm.text.redact import _redact_short, redact, remember_secret
from ipyllm.text.secrets import as_secret, randomness_bits

KEY = "sk-own-a9Xq2LmT7vB4zP0w"
AS_IT_COMES = "~/+a9Xq2LmT7vB4zP0w=="  # signs at both ends

BASE62 = string.ascii_letters + string.digits
LOWER = string.ascii_lowercase + string.digits
HEX = "0123456789abcdef"
URL_SAFE = BASE62 + "-_"

# The shapes of keys as their providers make them: what they begin with, the characters, how many of them.
SHAPES = {
    "openai": ("sk-proj-", URL_SAFE, 156),
    "openai of old": ("sk-", BASE62, 48),
    "openai service account": ("sk-svcacct-", URL_SAFE, 156),
    "anthropic": ("sk-ant-api03-", URL_SAFE, 95),
    "deepseek": ("sk-", HEX, 32),
    "moonshot": ("sk-", BASE62, 48),
    "openrouter": ("sk-or-v1-", HEX, 64),
    "groq": ("gsk_", BASE62, 52),
    "cerebras": ("csk-", LOWER, 48),
    "xai": ("xai-", BASE62, 80),
    "gemini": ("AIza", URL_SAFE, 35),
    "gemini of new": ("AQ.Ab8", URL_SAFE, 48),
    "huggingface": ("hf_", string.ascii_letters, 34),
    "together": ("tgp_v1_", URL_SAFE, 43),
    "fireworks": ("fw_", BASE62, 24),
    "nvidia": ("nvapi-", URL_SAFE, 64),
}
WITHOUT_SHAPE = {
    "mistral": ("", BASE62, 32),
    "azure": ("", HEX, 32),
    "together of old": ("", HEX, 64),
    "zai": ("", HEX, 32),
}


def made_up(shape, n=200):
    begins_with, characters, length = shape
    rng = random.Random(length)
    return [begins_with + "".join(rng.choices(characters, k=length)) for _ in range(n)]


@pytest.fixture(autouse=True)
def only_own_keys(monkeypatch):
    monkeypatch.setattr("ipyllm.text.redact._known", {})
    _redact_short.cache_clear()
    monkeypatch.setattr("ipyllm.text.redact._shortest", 16)


@pytest.mark.parametrize("provider", SHAPES)
def test_keys_of_each_provider_are_masked_though_nobody_gave_them_to_us(provider):
    for key in made_up(SHAPES[provider]):
        assert redact(f"Incorrect key: {key}. Try again.").removesuffix(" Try again.") in {
            "Incorrect key: [key hidden].",
            "Incorrect key: [key hidden]",
        }


@pytest.mark.parametrize("provider", WITHOUT_SHAPE)
@pytest.mark.parametrize(
    "said", ["Authorization: Bearer {}", '{{"api_key": "{}"}}', "Incorrect API key provided: {}", "AZURE_API_KEY={}"]
)
def test_a_key_without_a_shape_is_masked_where_the_text_says_what_it_is(provider, said):
    for key in made_up(WITHOUT_SHAPE[provider], 50):
        assert redact(said.format(key)) == said.format("[key hidden]")


@pytest.mark.parametrize(
    "text",
    [
        *("sk-top-container", "sk-learn.pipelines", "pk-constraint", "Bearer authentication", "sk-ssh-ed25519"),
        *("hf_hub_download", "fw_version_2", "the api_key: model.apigateway.ApiGatewayApiKey", "task-force-2024-11-26"),
        *("x" * 40, "sk-xxxxxxxxxxxxxxxxxxxxxxxx", "Basic authentication-scheme", "sk-container-id-1 > div.sk-item"),
        "d41d8cd98f00b204e9800998ecf8427e  empty.txt",
    ],
)
def test_ordinary_text_is_left_alone(text):
    assert redact(text) == text


def test_nothing_is_masked_in_the_standard_library():
    remember_secret(KEY)
    root = Path(sysconfig.get_paths()["stdlib"])
    files = [path for path in sorted(root.glob("**/*.py")) if "site-packages" not in path.parts]
    assert len(files) > 500
    changed = []
    for path in files:
        text = path.read_text("utf-8", "replace")
        if redact(text) != text:
            changed.append(path.name)
    assert changed == []


def test_nothing_is_masked_in_the_descriptions_of_packages():
    folder = Path(pytest.__file__).parents[1]
    texts = [path.read_text("utf-8", "replace") for path in islice(folder.glob("*.dist-info/METADATA"), 300)]
    assert len(texts) > 50
    assert [text[:80] for text in texts if redact(text) != text] == []


def spellings(key):
    yield key
    yield key.upper()
    yield key.swapcase()
    yield " ".join(key)
    yield "\u200b".join(key)
    yield key[:9] + "\n" + key[9:]
    yield key[:9] + "\x1b[0m\x1b[31m" + key[9:]
    yield quote(key, safe="")
    yield "".join(f"%{ord(character):02X}" for character in key)
    yield key.replace("-", "%2d")
    for before in ("", "u", "u:"):
        yield base64.b64encode(f"{before}{key}".encode()).decode()
        yield base64.urlsafe_b64encode(f"{before}{key} and more".encode()).decode()
    yield base64.encodebytes(f"a line that is long enough to be broken: {key}, in the middle".encode()).decode()


@pytest.mark.parametrize("key", [KEY, AS_IT_COMES], ids=["sk", "signs"])
@pytest.mark.parametrize("number", range(17))
def test_a_given_key_is_masked_in_every_spelling(key, number):
    remember_secret(key)
    spelled = list(spellings(key))
    assert len(spelled) == 17
    masked = redact(f"Refused: {spelled[number]} (401)")
    assert masked.startswith("Refused: ")
    assert masked.endswith(" (401)")
    assert "[key hidden]" in masked
    bare = "".join(filter(str.isalnum, masked.removeprefix("Refused: ").removesuffix(" (401)")))
    assert bare.replace("keyhidden", "") == "", masked


@pytest.mark.parametrize(
    "key", ["lm-studio", "password", "anything", "no-key-needed", "EMPTY", "token-abc123", "sk-1234"]
)
def test_words_and_short_keys_are_not_masked(key):
    remember_secret(key)
    text = f"The {key} of LM Studio: {key.upper()}, {key}s."
    assert redact(text) == text


@pytest.mark.parametrize("key", ["Zq7!xK2#vB9", "k-3.F_8*x+7Tz/2q", "!@#$%^&*()!@#"])
def test_a_text_that_is_no_longer_than_a_short_key_is_masked(key):
    remember_secret("another-key-r9Xq2LmT7vB4wK8sD3fG6hJ")
    remember_secret(key)
    assert redact(key) == "[key hidden]"


def test_a_key_of_signs_is_masked_as_it_is():
    remember_secret("!@#$%^&*()!@#")
    assert redact("It is !@#$%^&*()!@# there, and no key: !!!") == "It is [key hidden] there, and no key: !!!"


@pytest.mark.parametrize(
    ("secret", "text", "masked"),
    [
        ("a0123456789b", "Key: gsk_a0123456789bcdef.", "Key: [key hidden]."),
        ("my key: sk-a9Xq2LmT7v#end", "Sent my key: sk-a9Xq2LmT7v#end to it", "Sent [key hidden] to it"),
        ("sk-a9Xq2LmT7v#rest", "sk-a9Xq2LmT7v#rest", "[key hidden]"),
        ("a9Xq2LmT7vB4", "a9Xq2LmT7vB4a9Xq2LmT7vB4a9", "[key hidden][key hidden]a9"),
    ],
)
def test_a_secret_inside_a_key_and_a_key_inside_a_secret_leave_nothing_over(secret, text, masked):
    remember_secret(secret)
    assert redact(text) == masked


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("Incorrect API key provided: sk-abcdefghijklmnop.", "Incorrect API key provided: [key hidden]."),
        ("Incorrect: sk-ab****wxyz0123", "Incorrect: [key hidden]"),
        ("sk-proj-abcdefghijklmnop", "[key hidden]"),
        ("Bearer r9Xq2LmT7vB4zP0w", "Bearer [key hidden]"),
    ],
)
def test_keys_as_servers_quote_them(text, masked):
    assert redact(text) == masked


def test_a_text_is_masked_before_it_is_cut():
    remember_secret(KEY)
    for before in range(90, 130):
        cut = shorten("x" * before + f" {KEY} and more", 120)
        assert len(cut) <= 120
        assert KEY[:6] not in cut
    assert shorten(f"\x1b[31m{KEY}\x1b[0m was\n refused", 40) == "[key hidden] was refused"


def test_masking_a_long_token_with_the_beginning_of_a_key_everywhere_takes_no_longer():
    remember_secret(KEY)
    text = base64.b64encode(KEY.encode() * 20_000).decode() + " " + "s-" * 500_000 + KEY
    assert redact(text).count("[key hidden]") == 2
    assert redact("s" + "\x1b[@%2d" * 1_000 + KEY).endswith("[key hidden]")


def test_a_secret_shows_its_key_nowhere():
    secret = as_secret(f" {KEY}\n")
    assert KEY not in repr([secret]) + str(secret) + f"{secret}"
    assert secret.get_secret_value() == KEY
    assert as_secret(secret) == secret
    assert as_secret(None) is None


def test_random_keys_are_told_from_words():
    words = [
        "authentication",
        "correct-horse-battery-staple",
        "strengths",
        "your-openai-api-key-here",
        "xxxxxxxxxxxxxxxx",
    ]
    assert max(map(randomness_bits, words)) < 40 < min(map(randomness_bits, made_up(("", HEX, 32))))


@pytest.mark.parametrize("place", [0, 1_000_000, 978_576, 1_048_566, 2_031_604])
@pytest.mark.parametrize("key", ["r9Xq2LmT7vB4-windows", "r9Xq 2LmT 7vB4 windows", "sk-a9Xq2LmT7vB4zP0wQ8e"])
def test_a_key_is_masked_wherever_it_is_in_a_long_text(key, place):
    remember_secret("r9Xq2LmT7vB4-windows")
    text = "so " * 1_000_000
    masked = redact(f"{text[:place]} {key} {text[place:]}")
    assert masked == f"{text[:place]} [key hidden] {text[place:]}"


def test_a_word_that_is_cut_by_a_search_in_pieces_is_no_key():
    window = 983_040  # where the second one begins
    text = "." * (window - 2) + "task-a9Xq2LmT7vB4zP0wQ8e and so on" + " so" * 100_000
    assert redact(text) == text


def test_a_text_that_was_seen_before_is_masked_once_its_key_is_known():
    text = "id r9Xq2LmT7vB4wK8sD3fG6hJ5"
    assert redact(text) == text
    remember_secret("r9Xq2LmT7vB4wK8sD3fG6hJ5")
    assert redact(text) == "id [key hidden]"
