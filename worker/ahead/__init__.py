"""Warnings before anything failed: what is known, who is warned when, the message, and what came of it."""
