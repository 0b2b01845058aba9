"""`fcnet notes`."""

from fcnet.notes import index


def notes(markdown: bool) -> None:
    """Print every item of the notes with its functions, as text or as Markdown."""
    print(index.markdown() if markdown else index.table())
