"""`python -m sphereflow` is the command `sphereflow`."""

from .cli import main

if __name__ == "__main__":
    main()
