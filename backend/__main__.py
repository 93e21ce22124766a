"""The command `hoop`, also as ``python -m backend``; a half-installed environment gets a sentence, not a traceback."""

import sys


def main() -> None:
    """Run the command line."""
    try:
        # Commands import what they need when they run, so that is inside as well.
        from backend.cli import run  # noqa: PLC0415 - the import is what may fail

        run()
    except ModuleNotFoundError as error:
        if error.name and error.name.split(".")[0] in {"backend", "worker"}:
            raise
        sys.exit(
            f"Hoop is only half installed: the package {error.name!r} is missing. "
            "Run `make setup` in its folder (or `pip install -e '.[worker]'`) and start again."
        )


if __name__ == "__main__":
    main()
