"""Which addresses we write to, and which are one mailbox."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.notices.address import BadAddress, parse, recipient_hash

GOOD = [
    ("ada@example.com", "ada@example.com"),
    (" ada@example.com ", "ada@example.com"),
    ("Ada.Lovelace+billing@EXAMPLE.Com", "Ada.Lovelace+billing@example.com"),
    ("o'neil@example.com", "o'neil@example.com"),
    ("!#$%&*+-/=?^_`{|}~@example.com", "!#$%&*+-/=?^_`{|}~@example.com"),
    ('"ada lovelace"@example.com', '"ada lovelace"@example.com'),
    ('"a@b"@example.com', '"a@b"@example.com'),
    ("ada@bücher.example", "ada@xn--bcher-kva.example"),
    ("用户@例え.jp", "用户@xn--r8jz45g.jp"),
    ("ada@localhost", "ada@localhost"),
    ("a" * 64 + "@example.com", "a" * 64 + "@example.com"),
]

BAD = [
    "",
    "@",
    "ada",
    "ada@",
    "@example.com",
    "ada@example",
    "ada@@example.com",
    "ada@example..com",
    "ada@-example.com",
    "ada@exa_mple.com",
    "ada@127.0.0.1",
    "ada@[127.0.0.1]",
    "ada@example.com.",
    ".ada@example.com",
    "ada.@example.com",
    "a..da@example.com",
    "ada lovelace@example.com",
    "ada,bob@example.com",
    "Ada <ada@example.com>",
    "ada@example.com, bob@example.com",
    "ada@example.com\r\nRCPT TO:<bob@example.com>",
    "ada\r\n@example.com",
    '"ada\r\nbob"@example.com',
    "ada\x00@example.com",
    "ada@exam\x00ple.com",
    "ada>@example.com",
    '"ada@example.com',
    "ada\u202e@example.com",
    "ada\u2028@example.com",
    "ada@straße.example",  # Python would write to strasse.example
    "ada@" + "a" * 64 + ".com",
    "a" * 65 + "@example.com",
    "ada@" + "a." * 130 + "com",
    "x" * 10_000,
    "ada@" + "ü" * 10_000 + ".com",
]


@pytest.mark.parametrize(("text", "written"), GOOD)
def test_a_good_address_is_written_with_its_domain_in_ascii(text: str, written: str) -> None:
    assert str(parse(text)) == written


@pytest.mark.parametrize("text", BAD)
def test_a_bad_address_is_refused_without_repeating_it(text: str) -> None:
    with pytest.raises(BadAddress) as refused:
        parse(text)
    assert "ada" not in str(refused.value)


@given(st.text(max_size=100))
def test_any_text_is_an_address_or_a_bad_one(text: str) -> None:
    try:
        found = str(parse(text))
    except BadAddress:
        return
    assert found.isprintable()
    assert str(parse(found)) == found


def test_one_mailbox_has_one_hash_however_it_is_written() -> None:
    same = ["ada@example.com", "ADA@Example.COM", " ada@example.com", '"ada"@example.com']
    assert len({recipient_hash(parse(text)) for text in same}) == 1
    assert recipient_hash(parse("ada@bücher.example")) == recipient_hash(parse("ada@xn--bcher-kva.example"))
    assert recipient_hash(parse("ada@example.com")) != recipient_hash(parse("bob@example.com"))


def test_a_secret_key_gives_other_hashes() -> None:
    ada = parse("ada@example.com")
    assert len({recipient_hash(ada), recipient_hash(ada, b"one"), recipient_hash(ada, b"two")}) == 3
    assert len(recipient_hash(ada, b"one")) == 32
