"""Before anything failed: which renewal is worth a word, who is told and who is the control, and what came of it."""
