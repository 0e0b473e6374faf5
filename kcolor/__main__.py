"""``python -m kcolor`` is ``kcolor``."""

from kcolor.cli import main

if __name__ == "__main__":
    main()
