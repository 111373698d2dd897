"""Where lines begin and end in a text, and which comments belong to which section. All positions are in characters."""

_COMMENT_MARKS = ("#", ";")


def column(text: str, at: int) -> int:
    """Return how far `at` is from the beginning of its line."""
    return at - (text.rfind("\n", 0, at) + 1)


def line_end(text: str, at: int) -> int:
    """Return where the line that holds the character before `at` ends, its newline included; a block scalar ends with its newline."""
    if at and text[at - 1] == "\n":
        return at
    end = text.find("\n", at)
    return len(text) if end < 0 else end + 1


def end_of_section(text: str, at: int) -> int:
    """Return where a section ends whose last entry's line ends at `at`: behind the comments below it.

    Comments right above the next header are about that one, so a blank line must follow them, or the end of the text.
    """
    end = end_of_comments = at
    while at < len(text):
        stop = line_end(text, at + 1)
        line = text[at:stop].strip()
        if not line:
            end = end_of_comments
        elif line.startswith(_COMMENT_MARKS):
            end_of_comments = stop
        else:
            return end
        at = stop
    return end_of_comments


def begin_of_section(text: str, at: int) -> int:
    """Return where the comments right above the header at `at` begin; those at the beginning of the text are about the whole text."""
    begin = header = at - column(text, at)
    while begin:
        above = text.rfind("\n", 0, begin - 1) + 1
        if not text[above:begin].lstrip().startswith(_COMMENT_MARKS):
            return begin
        begin = above
    return header
