"""What is around the text of a key and none of the merge's business: a byte order mark, the kind of line ends, the last newline."""

from dataclasses import dataclass

_BOM = "\ufeff"


@dataclass(frozen=True, slots=True)
class Framed:
    """A text with LF line ends and a last newline, and what it takes to give it its own form back."""

    body: str
    has_bom: bool
    is_crlf: bool
    is_open_ended: bool

    def bare(self, body: str) -> str:
        """Return the body with its last newline only if the file has one: a YAML block scalar at the end is another value without."""
        return body[:-1] if self.is_open_ended and body.endswith("\n") else body

    def wrap(self, body: str) -> str:
        """Return another body in this frame: the tenant's mark, line ends and last line."""
        text = self.bare(body)
        return (_BOM if self.has_bom else "") + (text.replace("\n", "\r\n") if self.is_crlf else text)


def framed(text: str) -> Framed | None:
    """Take the frame off; None if line ends are mixed, so that nobody could put them back. An empty text is open-ended."""
    bare = text.removeprefix(_BOM)
    unix = bare.replace("\r\n", "\n")
    if "\r" in unix or ("\r\n" in bare and unix.count("\n") != bare.count("\r\n")):
        return None
    is_open_ended = not unix.endswith("\n")
    return Framed(unix + "\n" if is_open_ended else unix, text.startswith(_BOM), "\r\n" in bare, is_open_ended)
