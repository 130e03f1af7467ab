"""Online rounds: sample from the current policy, judge, train on the verdicts, again."""
