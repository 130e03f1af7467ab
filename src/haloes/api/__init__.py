"""
The commands as Python functions, with the same arguments, defaults and power; each is `haloes.<its name>`.

Nothing here prints: what a command shows comes back as a record, and `progress` is told how far the work is;
where it is left out, a display shows that in a terminal or a notebook (`arguments.showing`).
What is slow to import is imported where it is used, so that `import haloes` takes no time.
"""
