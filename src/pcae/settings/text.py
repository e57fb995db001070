"""Names that strangers gave, as they may be shown."""


def visible(text: str) -> str:
    """A text whose control characters, which could rewrite a terminal, are spelled out; line ends and tabs stay."""
    return "".join(sign if sign.isprintable() or sign in "\n\t" else repr(sign)[1:-1] for sign in text)
