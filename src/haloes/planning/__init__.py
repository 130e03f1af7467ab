"""Plan a run before it is started: memory by part, time, the distance from the bound, and advice."""
