"""What recurring revenue did, as values: facts are folded into movements, movements are booked as entries.

Read in this order: `facts` (what we learned), `interpret` (facts in the neutral words of `vocabulary`), `book` (the
fold into movements and cases), `entry` (double entry and its corrections). `mrr` and `changes` are the two rules the
fold asks. Replaceable as a whole: whatever turns the same events into the same movements.
"""
