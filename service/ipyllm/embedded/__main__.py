"""Command line for embedded models: ``python -m ipyllm.embedded pull smollm2-135m``."""

from __future__ import annotations

import argparse
import sys

from ipyllm.embedded.catalogue import CATALOGUE, find
from ipyllm.embedded.pull import pull_with_progress
from ipyllm.errors import LLMError

_INTERRUPTED = 130


def main(arguments: list[str] | None = None) -> int:
    """Run the command and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m ipyllm.embedded", description="Embedded models.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="list the models, and where the pulled ones are")
    fetch = commands.add_parser("pull", help="download a model")
    fetch.add_argument("name", nargs="?", default=next(iter(CATALOGUE)))
    options = parser.parse_args(arguments)
    try:
        if options.command == "pull":
            print(pull_with_progress(options.name, _tell))  # noqa: T201
        else:
            for model in CATALOGUE.values():
                path = find(model.name) or f"not pulled ({model.needs})"
                print(f"{model.name}  {model.license}  {path}\n    {model.about}")  # noqa: T201
    except LLMError as exc:
        _tell(str(exc))
        return 1
    except KeyboardInterrupt:
        return _INTERRUPTED
    return 0


def _tell(line: str) -> None:
    """Print to stderr: stdout has nothing but the path."""
    print(line, file=sys.stderr)  # noqa: T201


if __name__ == "__main__":
    sys.exit(main())
