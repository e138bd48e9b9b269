"""``python -m landbridge`` and the command ``landbridge``."""


def main() -> None:
    """Run the command line."""
    from .benchmarks.cli import run

    run()


if __name__ == "__main__":
    main()
