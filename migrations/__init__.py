"""Alembic revisions, each saying why, which locks it takes, how to deploy it and how to undo it."""
