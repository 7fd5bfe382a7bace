"""Any picture, in words."""

from pydantic import Field

from schemas._values import Document, Many, Text, Words

INSTRUCTIONS = "Say what is in the picture, not that it is a picture, and nothing that cannot be seen in it.\n"


class Caption(Document):
    """One picture, described for people and for search."""

    caption: Words = Field(description="What the picture shows, in one sentence")
    alt_text: Text = Field(
        default=None,
        description="What to read out to somebody who does not see it, in at most 125 characters; null if as above",
    )
    tags: Many[str] = Field(
        default_factory=list, description="Three to ten lower-case words or short phrases to find it by"
    )
