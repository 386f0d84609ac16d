"""Learning from closed cases: numpy works here, beside the product; nothing that decides or charges imports it."""
