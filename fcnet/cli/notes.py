"""`fcnet notes`: the index of the notes."""

from fcnet.cli.options import Command


def notes(markdown: bool) -> None:
    """Print every item of the notes with its functions, as text or as Markdown."""
    from fcnet.notes import index

    print(index.markdown() if markdown else index.table())


COMMAND = Command(
    notes,
    "list every equation, algorithm and figure of the notes with its functions",
    ("fcnet notes", "fcnet notes --markdown > notes.md"),
    {"--markdown": {"action": "store_true", "help": "as tables in Markdown"}},
)
