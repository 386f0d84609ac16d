"""The rolling budget of a card, as dated stories: all that was declined counts, and the last one is taken once."""

from __future__ import annotations

import io
import threading
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert

from billing.case import State
from config import policies
from config.policies import BadPolicy
from sandbox import FINE, SMART_RETRIES, Chaos, declines
from tests.journeys.test_recovery import BROKE, attempts, renewal_fails
from tests.world import DAY, HOUR, SELF, START, World, world
from worker import crash, explain, flow
from worker import tables as t

FUNDS = {"code": "card_declined", "decline_code": "insufficient_funds"}
RULE = "visa-15-in-30-days"


def card_of(w: World, sub: Any) -> str:
    return f"card:{w.sb.get(sub.payment_method)['card']['fingerprint']}"


def declined_before(w: World, card: str, number: int, since: datetime, amount: int = 2000) -> None:
    """As if other invoices had been declined on this card, an hour apart."""
    rows = [
        {
            **SELF.key,
            "charge": f"ch_before_{n}",
            "card": card,
            "invoice": "in_before",
            "amount": amount,
            "currency": "usd",
            "at": since + n * HOUR,
            "decline": FUNDS,
        }
        for n in range(number)
    ]
    with w.app.db.begin() as db:
        db.execute(insert(t.declined_charge), rows)


def declined_at_the_bank(w: World) -> list[str]:
    return sorted(str(each.charge) for each in w.sb.bank.movements if each.outcome == "declined")


def told(w: World, invoice: str) -> str:
    out = io.StringIO()
    explain.run(w.app, invoice, False, out)
    return " ".join(out.getvalue().split())


def test_every_declined_charge_counts_once_whoever_made_it(database_url: str, tmp_path: Path) -> None:
    chaos = Chaos(duplicate=0.5, reorder=0.5)
    with world(database_url, tmp_path, mode="notify", sandbox={"dunning": SMART_RETRIES, "chaos": chaos}) as w:
        sub, invoice = renewal_fails(w, BROKE)
        # Stripe retries, and the customer tries something else with the same card.
        w.pass_time(START + 40 * DAY, step=DAY)
        rows = w.rows(t.declined_charge)
        assert sorted(row.charge for row in rows) == declined_at_the_bank(w)
        assert len(rows) > 3
        assert {row.card for row in rows} == {card_of(w, sub)}
        assert {row.invoice for row in rows} <= {invoice, None}
        assert len({row.intent for row in rows}) == 1
        assert {row.unknown for row in rows} == {None}


def test_our_own_attempt_and_its_event_are_one_charge(sqlite_url: str, tmp_path: Path) -> None:
    with world(sqlite_url, tmp_path) as w:
        _, invoice = renewal_fails(w, BROKE)
        w.pass_time(START + 50 * DAY, step=DAY)
        assert len(attempts(w, invoice)) > 3
        assert sorted(row.charge for row in w.rows(t.declined_charge)) == declined_at_the_bank(w)


def test_a_retry_beyond_the_budget_is_refused_and_told(database_url: str, tmp_path: Path) -> None:
    with world(database_url, tmp_path) as w:
        sub, invoice = renewal_fails(w, BROKE)
        # 2 February: fourteen charges of other invoices were declined on this card in the last days.
        declined_before(w, card_of(w, sub), 14, START + 25 * DAY)
        w.pass_time(START + 36 * DAY)
        # 3 February: the first rung is due; it would be the sixteenth. Nothing is asked for.
        assert attempts(w, invoice) == []
        (row,) = w.rows(t.refusal)
        assert (row.rule, row.effect, row.used, row.most) == (RULE, "at_most", 15, 15)
        assert (row.fee, row.fee_currency) == (15, "usd")
        assert row.until == START + 55 * DAY + timedelta(minutes=1)
        story = told(w, invoice)
        assert f"retry refused by the rule {RULE}, 15 of 15 used, 0.15 USD at stake" in story
        assert f"{RULE}: 0 of 15 declined charges of this card and amount in 30 days are left" in story
        # 25 February: the oldest has left the window, and there is money.
        w.sb.issuer.set(sub.payment_method, FINE)
        w.pass_time(START + 56 * DAY)
        assert w.case(invoice).state is State.RECOVERED
        assert attempts(w, invoice) == ["succeeded"]


def own_rule(folder: Path, most: int, loosens: bool) -> Path:
    file = folder / "own.toml"
    file.write_text(
        f'''as_of = 2026-02-01
[[rule]]
name = "{RULE}"
effect = "at_most"
brands = ["visa"]
scope = "amount"
most = {most}
days = 30
fees = [{{ minor = 70, currency = "usd" }}]
{"loosens = true" if loosens else ""}
because = "our acquirer counts to {most}"
from = 2026-01-01
source = "letter of our acquirer"
'''
    )
    return file


def test_a_stricter_rule_of_ones_own_refuses_earlier_and_is_told(sqlite_url: str, tmp_path: Path) -> None:
    with world(sqlite_url, tmp_path, network_rules_path=own_rule(tmp_path, 3, False)) as w:
        sub, invoice = renewal_fails(w, BROKE)
        declined_before(w, card_of(w, sub), 2, START + 25 * DAY)
        w.pass_time(START + 36 * DAY)
        assert attempts(w, invoice) == []
        (row,) = w.rows(t.refusal)
        assert (row.rule, row.used, row.most, row.fee) == (RULE, 3, 3, 70)
        story = told(w, invoice)
        assert "our acquirer counts to 3" in story
        assert f"own rule {RULE}: our acquirer counts to 3; source: letter of our acquirer" in story


def test_a_looser_rule_of_ones_own_lets_more_pass_and_is_said_loudly(sqlite_url: str, tmp_path: Path) -> None:
    with world(sqlite_url, tmp_path, network_rules_path=own_rule(tmp_path, 20, True)) as w:
        sub, invoice = renewal_fails(w, BROKE)
        declined_before(w, card_of(w, sub), 14, START + 25 * DAY)
        w.pass_time(START + 36 * DAY)
        assert attempts(w, invoice) == ["failed", "failed"]
        said = f"own rule {RULE}, LOOSER than the shipped one (most 20 instead of 15)"
        assert said in told(w, invoice)


def test_a_rule_that_cannot_be_used_lets_nothing_start(sqlite_url: str, tmp_path: Path) -> None:
    file = own_rule(tmp_path, 20, False)
    said = r"own\.toml, line 7: rule 1, most: "
    with pytest.raises(BadPolicy, match=said), world(sqlite_url, tmp_path, network_rules_path=file):
        pass


@pytest.mark.parametrize(("home", "fee"), [("US", 10), ("DE", 15), (None, 15)])
def test_the_fee_at_stake_is_that_of_the_merchants_country(
    sqlite_url: str, tmp_path: Path, home: str | None, fee: int
) -> None:
    with world(sqlite_url, tmp_path, stripe_country=home) as w:
        sub, _ = renewal_fails(w, BROKE)  # a card from the US
        declined_before(w, card_of(w, sub), 14, START + 25 * DAY)
        w.pass_time(START + 36 * DAY)
        assert [row.fee for row in w.rows(t.refusal)] == [fee]


def test_a_new_card_has_a_budget_of_its_own(sqlite_url: str, tmp_path: Path) -> None:
    with world(sqlite_url, tmp_path) as w:
        sub, invoice = renewal_fails(w, BROKE)
        declined_before(w, card_of(w, sub), 14, START + 25 * DAY)
        w.pass_time(START + 36 * DAY)
        assert len(w.rows(t.refusal)) == 1
        w.sb.new_card(sub.customer, "pm_card_visa")
        w.pass_time(HOUR, step=HOUR / 4)
        assert w.case(invoice).state is State.RECOVERED


def test_another_amount_has_a_budget_of_its_own(sqlite_url: str, tmp_path: Path) -> None:
    with world(sqlite_url, tmp_path) as w:
        sub, invoice = renewal_fails(w, BROKE)
        declined_before(w, card_of(w, sub), 20, START + 25 * DAY, amount=500)
        w.pass_time(START + 36 * DAY)
        assert w.rows(t.refusal) == []
        assert attempts(w, invoice) == ["failed", "failed"]


def test_a_card_that_is_lost_for_one_invoice_is_not_charged_for_another(sqlite_url: str, tmp_path: Path) -> None:
    """What the bank said of the card holds for every invoice: the second one was declined for want of money."""
    with world(sqlite_url, tmp_path) as w:
        sub, invoice = renewal_fails(w, BROKE)
        said = {"code": "card_declined", "decline_code": "lost_card", "network_decline_code": "41"}
        declined_before(w, card_of(w, sub), 1, START + 31 * DAY, amount=999)
        with w.app.db.begin() as db:
            db.execute(t.declined_charge.update().where(t.declined_charge.c.amount == 999).values(decline=said))
        w.pass_time(START + 36 * DAY)
        assert attempts(w, invoice) == []
        (row,) = w.rows(t.refusal)
        assert (row.rule, row.until) == ("visa-category-1", None)
        assert f"No further payment attempt: {row.because}" in told(w, invoice)


def test_two_invoices_of_one_card_cannot_both_take_the_last_of_its_budget(
    pg_database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two customers share a card; both retries are due in the same moment, and one more decline is allowed."""
    with world(pg_database, tmp_path) as w:
        subs = [w.sb.subscribe(amount=2000, email=f"{name}@example.com") for name in ("ann", "bob")]
        shared = w.sb.get(subs[0].payment_method)["card"]["fingerprint"]
        w.sb.get(subs[1].payment_method)["card"]["fingerprint"] = shared
        for sub in subs:
            w.sb.issuer.set(sub.payment_method, BROKE)
        w.pass_time(START + 33 * DAY, step=DAY)
        declined_before(w, f"card:{shared}", 12, START + 25 * DAY)
        w.sb.advance(START + 33 * DAY + 2 * HOUR)
        together = threading.Barrier(2, timeout=20)
        monkeypatch.setattr(crash, "point", lambda name: together.wait() if name == "C2" else None)
        at_once([lambda: flow.perform_action(w.app)] * 2)
        monkeypatch.undo()
        assert [row.state for row in w.rows(t.attempt)] == ["failed"]
        (refused,) = w.rows(t.refusal)
        assert (refused.rule, refused.used) == (RULE, 15)
        assert "is on its way" in refused.because


def at_once(acts: list[Any]) -> None:
    failed: list[BaseException] = []

    def guarded(act: Any) -> None:
        try:
            act()
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=guarded, args=(act,)) for act in acts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failed == []


def test_a_code_that_nobody_knows_is_tried_twice_and_listed(sqlite_url: str, tmp_path: Path) -> None:
    with world(sqlite_url, tmp_path) as w:
        _, invoice = renewal_fails(w, declines("issuer_is_on_holiday"))
        w.pass_time(START + 60 * DAY, step=DAY)
        assert len(attempts(w, invoice)) == 2
        assert {row.unknown for row in w.rows(t.declined_charge)} == {"decline code issuer_is_on_holiday"}


# ---------------------------------------------------------------- another saved method


@pytest.fixture
def backups(tmp_path: Path) -> Path:
    """A folder with the standard policy, which may charge other saved methods."""
    folder = tmp_path / "policies"
    folder.mkdir()
    shipped = (Path(policies.__file__).parent / "standard.toml").read_text(encoding="utf-8")
    (folder / "backups.toml").write_text(
        shipped.replace('name = "standard"', 'name = "backups"\nbackup_methods = true'), encoding="utf-8"
    )
    return folder


def paid_with(w: World, invoice: str) -> list[tuple[str, str | None]]:
    return [(row.state, row.request.get("payment_method")) for row in w.rows(t.attempt, invoice=invoice)]


def test_another_saved_card_pays_when_the_usual_one_is_dead(database_url: str, tmp_path: Path, backups: Path) -> None:
    with world(database_url, tmp_path, policy_dir=backups, policy="backups") as w:
        sub = w.sb.subscribe(amount=2000, email="ann@example.com")
        first = w.sb.new_card(sub.customer, "pm_card_visa", default=False)
        second = w.sb.new_card(sub.customer, "pm_card_mastercard", default=False)
        w.sb.issuer.set(sub.payment_method, declines("lost_card"))
        w.sb.issuer.set(second, BROKE)
        w.pass_time(START + 33 * DAY, step=DAY)
        invoice = str(w.sb.latest_invoice(sub.subscription)["id"])
        # Newest first: the second has no money, the first pays all that is owed.
        assert paid_with(w, invoice) == [("failed", second), ("succeeded", first)]
        assert w.case(invoice).state is State.RECOVERED
        assert [(m.amount, m.payment_method) for m in w.sb.bank.charged(invoice)] == [(2000, first)]


def test_when_no_saved_card_is_left_nothing_is_asked_any_more(sqlite_url: str, tmp_path: Path, backups: Path) -> None:
    with world(sqlite_url, tmp_path, policy_dir=backups, policy="backups") as w:
        sub = w.sb.subscribe(amount=2000, email="ann@example.com")
        other = w.sb.new_card(sub.customer, "pm_card_visa", default=False)
        for method in (sub.payment_method, other):
            w.sb.issuer.set(method, declines("lost_card"))
        w.pass_time(START + 50 * DAY, step=DAY)
        invoice = str(w.sb.latest_invoice(sub.subscription)["id"])
        assert paid_with(w, invoice) == [("failed", other)]
        assert "the customer has no other saved card" in told(w, invoice)


def test_other_saved_cards_are_left_alone_unless_the_policy_allows(sqlite_url: str, tmp_path: Path) -> None:
    with world(sqlite_url, tmp_path) as w:
        sub = w.sb.subscribe(amount=2000, email="ann@example.com")
        w.sb.new_card(sub.customer, "pm_card_visa", default=False)
        w.sb.issuer.set(sub.payment_method, declines("lost_card"))
        w.pass_time(START + 50 * DAY, step=DAY)
        assert w.rows(t.attempt) == []


def test_missing_money_is_no_reason_to_charge_another_card(sqlite_url: str, tmp_path: Path, backups: Path) -> None:
    with world(sqlite_url, tmp_path, policy_dir=backups, policy="backups") as w:
        sub = w.sb.subscribe(amount=2000, email="ann@example.com")
        w.sb.new_card(sub.customer, "pm_card_visa", default=False)
        w.sb.issuer.set(sub.payment_method, BROKE)
        w.pass_time(START + 40 * DAY, step=DAY)
        invoice = str(w.sb.latest_invoice(sub.subscription)["id"])
        assert {method for _, method in paid_with(w, invoice)} == {None}
