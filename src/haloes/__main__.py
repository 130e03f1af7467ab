"""`python -m haloes` is the command `haloes`, so that `torchrun -m haloes train ...` works."""

from haloes.cli.main import main

if __name__ == "__main__":
    main()
