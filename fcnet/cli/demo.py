"""`fcnet demo`: Algorithm 5 checked and networks trained on real house sales, with figures."""

from pathlib import Path

from fcnet.cli.options import Command, folder


def demo(out: Path) -> None:
    """Print what the demo finds, and write its figures into the folder `out`."""
    from fcnet.demo import main

    main(out)


COMMAND = Command(
    demo,
    "check Algorithm 5 and train on real house sales, with figures (needs the extra plot)",
    ("fcnet demo", "fcnet demo --out figures"),
    {"--out": folder("figures", "where the figures go, as PNG")},
)
