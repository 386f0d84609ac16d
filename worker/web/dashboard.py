"""The first page for people inside the company: the bridge of the month, and every open case with its next step.

There is no login yet, so it answers only a browser on this machine; what stands on it is ids, amounts and reasons,
nothing personal. Plain HTML and one style sheet: it works without JavaScript and loads nothing from elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import jinja2
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import BaseRoute, Route

from billing import case as cases
from billing.money import Amount
from billing.policy import SENTENCES as MODES
from billing.policy import Mode
from billing.report import render
from billing.report.bridge import Bridge, percent
from worker import explain, switch
from worker.app import App
from worker.store import Owner
from worker.web import open_cases
from worker.web.bridges import Bridges
from worker.web.local import only_here

HERE = Path(__file__).parent
HEADERS = {
    "content-security-policy": (
        "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
}


def routes(app: App) -> list[BaseRoute]:
    """`/`, `/cases/{invoice}` and the style sheet."""
    pages = Pages(app)
    return [
        Route("/", only_here(pages.overview), methods=["GET"]),
        Route("/cases/{invoice}", only_here(pages.case), methods=["GET"]),
        Route("/static/dashboard.css", stylesheet, methods=["GET"]),
    ]


def stylesheet(_: Request) -> Response:
    css = (HERE / "static" / "dashboard.css").read_text(encoding="utf-8")
    return Response(css, media_type="text/css", headers={"cache-control": "max-age=300"})


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the bridge: its sign, its name, and the amount of each period."""

    field: str
    sign: str
    name: str
    amounts: tuple[str, ...]


class Pages:
    """What the routes answer with; each reads the database once."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._bridges = Bridges(app)
        self._counts = open_cases.Counts(app)
        self._templates = jinja2.Environment(
            loader=jinja2.FileSystemLoader(HERE / "templates"), autoescape=True, undefined=jinja2.StrictUndefined
        )
        self._templates.filters.update(money=money, moment=moment, sentence=sentence)

    def overview(self, request: Request) -> Response:
        """The bridge, what is at risk, and one page of the open cases."""
        owners = self._owners()
        asked = request.query_params
        owner = next(
            (o for o in owners if (o.account, _mode(o)) == (asked.get("account"), asked.get("mode"))), owners[0]
        )
        shown = open_cases.shown(asked.get("state"))
        try:
            listed = open_cases.page(self._app, owner, shown, asked.get("before"))
        except ValueError:
            return self._page("message.html", 400, title="This address cannot be read", text="Start again at the top.")
        counts = self._counts.of(owner)
        known = self._bridges.of(owner)
        return self._page(
            "overview.html",
            owner=owner,
            owners=[(o, self._link(o)) for o in owners] if len(owners) > 1 else [],
            mode=self._driving(owner),
            counts=counts,
            states=[(state, cases.SENTENCES[state], counts.states.get(state, 0)) for state in cases.State],
            live=cases.LIVE,
            bridges=known,
            tables=[_table(found) for found in known.by_unit()] if known else [],
            listed=listed,
            shown=asked.get("state") if len(shown) == 1 else None,
            link=lambda **more: self._link(owner, **more),
        )

    def case(self, request: Request) -> Response:
        """One invoice's story."""
        try:
            stories = explain.stories(self._app, request.path_params["invoice"])
        except LookupError as unknown:
            return self._page("message.html", 404, title="Not found", text=f"{unknown}.")
        return self._page("case.html", stories=stories)

    def _page(self, template: str, status: int = 200, **values: Any) -> Response:
        with self._app.db.read() as db:
            stops = switch.standing(db)
        html = self._templates.get_template(template).render(now=self._app.now(), stops=stops, **values)
        return HTMLResponse(html, status, HEADERS)

    def _owners(self) -> list[Owner]:
        return [Owner(account.id, account.livemode) for account in self._app.settings.all_accounts]

    def _driving(self, owner: Owner) -> tuple[str, str]:
        account = self._app.settings.account(owner.account, owner.livemode)
        mode = Mode(account.mode if account else "observe")
        return mode.value, MODES[mode]

    def _link(self, owner: Owner, **more: str | None) -> str:
        several = len(self._app.settings.all_accounts) > 1
        query = {"account": owner.account, "mode": _mode(owner)} if several else {}
        query |= {name: value for name, value in more.items() if value}
        return f"/?{urlencode(query)}" if query else "/"


def _mode(owner: Owner) -> str:
    return "live" if owner.livemode else "test"


def _table(found: list[Bridge]) -> dict[str, Any]:
    """The bridges of one currency side by side, a column for each period."""
    columns = [{name: (sign, amount) for sign, name, amount in render.table(bridge)} for bridge in found]
    fields = {name: field for field, _, name in render.LINES}
    names = [name for _, name, _ in render.table(max(found, key=lambda bridge: len(render.table(bridge))))]
    return {
        "unit": found[0].unit,
        "periods": [bridge.period for bridge in found],
        "lines": [
            Line(
                fields[name],
                columns[0].get(name, ("", ""))[0],
                name,
                tuple(_grouped(column.get(name, ("", ""))[1]) for column in columns),
            )
            for name in names
        ],
        "ratios": [(name, [_ratio(bridge, field) for bridge in found]) for field, name in render.RATIOS],
        "at_risk": [
            (_grouped(str(Amount(bridge.at_risk, bridge.unit)).partition(" ")[0]), bridge.at_risk_cases)
            for bridge in found
        ],
    }


def _ratio(bridge: Bridge, field: str) -> str:
    value = percent(getattr(bridge, field))
    return f"{value} %" if value else "nothing at the opening"


def money(amount: Amount) -> str:
    """`28,091.10 USD/mo`"""
    number, _, unit = str(amount).partition(" ")
    return f"{_grouped(number)} {unit}"


def moment(at: datetime) -> str:
    return f"{at:%d %b %Y %H:%M}"


def sentence(text: str) -> str:
    """With a capital first letter, and the rest as it is."""
    return text[:1].upper() + text[1:]


def _grouped(number: str) -> str:
    whole, dot, rest = number.partition(".")
    return f"{int(whole):,}{dot}{rest}" if whole.lstrip("-").isdigit() else number
