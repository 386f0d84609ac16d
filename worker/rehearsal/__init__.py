"""Trying a policy before it touches a card: one case played on a stand-in Stripe, and many cases worked through.

    story -> stage -> play (three times) -> rehearse -> paper          reprieve rehearse
    history or invented cases -> simulate -> figures                   reprieve simulate

A rehearsal is the product itself, from the signed webhook to the books, on a clock that is moved; a simulation asks
only the rules and the model when to try, and a model answers for the bank. Nothing here writes to the real database
or sends anything. Stripe's test clocks could replace the stand-in for a single case, at minutes a month.
"""
