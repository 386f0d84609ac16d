"""The page of a warning: one button to Stripe's portal, where the customer gives a payment method for the next renewal.

Nothing is owed here, so nothing is shown of invoices. Link, limits and headers are those of the recovery page.
"""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import select
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from billing.notices.compose import STRIPE_HOSTS, Links, safe_link
from worker import links
from worker.ahead_tables import ahead_renewal
from worker.app import App
from worker.links import Link
from worker.stripe_gateway import StripeAway, StripeMissing, StripeRefused
from worker.web.pay import Pages
from worker.web.pay_view import Writer, standing, tongue_for

SAID = {"method_done": "good", "away": "bad"}


def routes(app: App) -> list[BaseRoute]:
    """`/method/{token}`, whatever the token looks like."""
    page = MethodPage(app)
    return [
        Route(f"{links.METHOD_PATH}{{token:path}}", page.look, methods=["GET"]),
        Route(f"{links.METHOD_PATH}{{token:path}}", page.act, methods=["POST"]),
    ]


class MethodPage(Pages):
    """What the routes answer with."""

    path = links.METHOD_PATH

    def look(self, request: Request) -> Response:
        """The page; changes nothing."""
        link = self._link(request, "look")
        if isinstance(link, Response):
            return link
        writer, said = self._writer(request, link), request.query_params.get("said", "")
        content = {
            "said": writer.say(said) if said in SAID else "",
            "mood": SAID.get(said, ""),
            "here": request.url.path,
        }
        return self._page("method.html", writer, content)

    def _act(self, request: Request, form: Mapping[str, str] | None) -> Response:
        link = self._link(request, "act")
        if isinstance(link, Response):
            return link
        token, asked = request.path_params["token"], request.query_params.get("lang")
        # Another site may not press our button; a browser too old to say where a form comes from may.
        ours = request.headers.get("sec-fetch-site", "same-origin") in ("same-origin", "none")
        if form is None or not ours or form.get("act") != "update":
            return self._to(self._address(token, asked, ""))
        with self._app.db.begin() as db:
            links.used(db, link, self._app.now())
        back = self._address(token, asked, "method_done")
        url = self._portal(link, back, self._writer(request, link).tongue.language)
        return self._to(url or self._address(token, asked, "away"))

    def _portal(self, link: Link, back: str, language: str) -> str:
        """Where Stripe takes a new payment method; empty when it cannot be reached."""
        gateway = self._app.stripe.of(link.owner.account, link.owner.livemode)
        if gateway is None:
            return ""
        try:
            url = gateway.portal(link.customer, back, language, home=self._own_method(link))
        except (StripeAway, StripeMissing, StripeRefused):
            return ""
        return safe_link(url, Links(STRIPE_HOSTS, self._app.settings.stripe_api_base))

    def _own_method(self, link: Link) -> bool:
        """Whether a subscription of this customer is paid with a method of its own, as Checkout leaves it."""
        table = ahead_renewal
        own = table.c.own_method.is_not(None) & table.c.renews_at.is_not(None)
        mine = link.owner.of(table) & (table.c.customer == link.customer) & own
        with self._app.db.read() as db:
            return db.execute(select(table.c.subscription).where(mine).limit(1)).first() is not None

    def _writer(self, request: Request, link: Link) -> Writer:
        with self._app.db.read() as db:
            stands = standing(self._app, db, link, self._app.now())
        return Writer(self._app, tongue_for(request.query_params.get("lang"), stands.locales))
