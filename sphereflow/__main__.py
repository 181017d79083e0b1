"""`python -m sphereflow` is the command `sphereflow`."""

from .cli.commands import main

if __name__ == "__main__":
    main()
