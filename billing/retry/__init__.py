"""When to ask the bank again: `schedule.next_attempt` is the question, each refusal has its name."""
