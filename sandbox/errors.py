"""Refusals, worded and shaped as Stripe shapes them.

One exception carries the HTTP status and the `error` object; the functions below are the kinds that the sandbox
knows. `saved` says whether an idempotency key remembers the answer: Stripe remembers it once execution began, so a
request refused for its form is not remembered and a declined one is.
"""

from __future__ import annotations

from typing import Any

DOCS = "https://stripe.com/docs/error-codes/"


class StripeError(Exception):
    """A request that Stripe refuses; `error` may hold internal objects, which the server renders."""

    def __init__(self, status: int, kind: str, message: str, *, saved: bool = True, **fields: Any) -> None:
        super().__init__(message)
        self.status = status
        self.saved = saved
        self.error: dict[str, Any] = {"type": kind, "message": message, **fields}
        if "code" in fields:
            self.error["doc_url"] = DOCS + str(fields["code"]).replace("_", "-")


def missing(name: str) -> StripeError:
    return _form(f"Missing required param: {name}.", "parameter_missing", name)


def unknown(name: str) -> StripeError:
    return _form(f"Received unknown parameter: {name}", "parameter_unknown", name)


def invalid(name: str, why: str) -> StripeError:
    return _form(f"Invalid {name}: {why}", "parameter_invalid", name)


def _form(message: str, code: str, name: str) -> StripeError:
    return StripeError(400, "invalid_request_error", message, saved=False, code=code, param=name)


def refused(message: str, code: str | None = None, **fields: Any) -> StripeError:
    """400: the request is well formed and cannot be done in the present state."""
    if code is not None:
        fields["code"] = code
    return StripeError(400, "invalid_request_error", message, **fields)


def no_such(kind: str, id: str, param: str = "id") -> StripeError:
    """404 for the object named in the path, 400 for one named in a parameter."""
    status = 404 if param == "id" else 400
    message = f"No such {kind}: '{id}'"
    return StripeError(status, "invalid_request_error", message, code="resource_missing", param=param)


def no_route(method: str, path: str) -> StripeError:
    message = f"Unrecognized request URL ({method}: {path})."
    return StripeError(404, "invalid_request_error", message, saved=False)


def unauthenticated() -> StripeError:
    return StripeError(401, "invalid_request_error", "You did not provide an API key.", saved=False)


def key_reused(key: str) -> StripeError:
    message = (
        f"Keys for idempotent requests can only be used with the same parameters they were first used with. "
        f"Try using a key other than '{key}' if you meant to execute a different request."
    )
    return StripeError(400, "idempotency_error", message, saved=False)


def key_in_use(key: str) -> StripeError:
    message = f"There is currently another in-progress request using this Idempotent Key: {key}."
    return StripeError(409, "idempotency_error", message, saved=False, code="idempotency_key_in_use")
