"""Learning from closed cases. `fit` and `evidence` need numpy and run in a child process of their own (`__main__`);
nothing that decides, charges or serves imports them, so that web and worker stay small."""

FEWEST_CASES = 300  # closed ones; fewer teach nothing that the shipped prior does not know
WITHOUT_NUMPY = 3  # exit code of the child when numpy is not installed
