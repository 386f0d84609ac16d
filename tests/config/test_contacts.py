"""Whom else to write to: the operator's CSV, and what is wrong with it."""

from __future__ import annotations

from pathlib import Path

import pytest

from config.contacts import MOST, BadContacts, contacts

HEAD = "customer,email,role,language\n"


def read(tmp_path: Path, text: str) -> dict[str, list[tuple[str, str, str | None]]]:
    file = tmp_path / "contacts.csv"
    file.write_text(text, encoding="utf-8")
    return {
        customer: [(str(each.address), each.role, each.language) for each in found]
        for customer, found in contacts(file).items()
    }


def test_contacts_are_read_by_customer_in_order_of_the_file(tmp_path: Path) -> None:
    text = (
        HEAD + "cus_1,ada@acme.example,owner,de\n\ncus_2,bob@b.example,billing,\ncus_1, cy@acme.example ,member,pt-BR\n"
    )
    assert read(tmp_path, text) == {
        "cus_1": [("ada@acme.example", "owner", "de"), ("cy@acme.example", "member", "pt-BR")],
        "cus_2": [("bob@b.example", "billing", None)],
    }


def test_the_language_may_be_left_out_and_no_file_is_nobody(tmp_path: Path) -> None:
    assert read(tmp_path, "email,role,customer\na@b.example,owner,cus_1\n") == {
        "cus_1": [("a@b.example", "owner", None)]
    }
    assert dict(contacts(None)) == {}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("customer,email\n", "column role: is missing"),
        ("customer,email,role,phone\n", "column phone"),
        ("customer,email,role,role\n", "column role"),
        (HEAD + "cus_1,ada,owner,\n", "line 2, column email: the address is not of the form"),
        (HEAD + "cus_1,a@b.example,boss,\n", "line 2, column role: none of billing, owner, member"),
        (HEAD + "cus_1,a@b.example,owner,german\n", "line 2, column language"),
        (HEAD + ",a@b.example,owner,\n", "line 2, column customer: is empty"),
        (HEAD + "cus_1,a@b.example,owner,\ncus_1,A@B.example,member,\n", "line 3, column email: this address is"),
        (HEAD + "cus_1,a@b.example\n", "line 2: 2 cells, the header has 4"),
        (HEAD + "".join(f"cus_1,a{n}@b.example,member,\n" for n in range(MOST + 1)), f"more than {MOST} contacts"),
    ],
)
def test_a_mistake_names_line_and_column_and_no_address(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(BadContacts) as error:
        read(tmp_path, text)
    assert words in str(error.value)
    assert "b.example" not in str(error.value)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadContacts, match=r"away\.csv"):
        contacts(tmp_path / "away.csv")
