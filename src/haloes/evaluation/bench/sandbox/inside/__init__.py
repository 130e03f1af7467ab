"""Code that runs inside the jails (a generated program in one, its tests in another); it imports the standard library alone."""
