"""A second Stripe, written by somebody else: localstripe, run as its own process in its own environment.

Our sandbox and our worker share authors, and so could share a mistake. localstripe (GPL-3.0) is a program we talk to
over HTTP; nothing here imports it, and it is not shipped. What it lacks is listed in its own documentation: prices,
decline codes, idempotency keys, webhook retries.
"""
