"""What must hold when processes die, Stripe misbehaves, and several hands reach for one payment.

Real worker processes are killed with SIGKILL; the sandbox is hostile: it charges a second time whoever asks a second
time with another key. `invariants.check` compares its money log with our tables after every test, and `test_control`
shows that the same tests catch a build that is broken on purpose.
"""
