"""Two or more images of one document, compared."""

from typing import Self

from pydantic import Field, model_validator

from schemas._values import Document, Many, Words

INSTRUCTIONS = """\
Compare the images in the order in which they are given. Say only what can be seen. A difference is something that a person
who laid the images side by side would point at; noise, sharpness and small shifts of the camera are none.
"""


class Difference(Document):
    """One thing that is not the same in all images."""

    aspect: Words = Field(description="What differs, in a few words")
    in_each: list[str] = Field(description="How it is in each image, one entry an image, in their order")


class Comparison(Document):
    """What the images show, what they have in common and where they differ."""

    summary: Words = Field(description="The comparison in one or two sentences")
    images: list[str] = Field(min_length=2, description="What each image shows, one sentence an image, in their order")
    similarities: Many[str] = Field(default_factory=list, description="What is the same in all images")
    differences: Many[Difference] = Field(default_factory=list, description="What differs, the most important first")

    @model_validator(mode="after")
    def _every_image_is_compared(self) -> Self:
        for difference in self.differences:
            if len(difference.in_each) != len(self.images):
                raise ValueError(
                    f"{difference.aspect!r} tells of {len(difference.in_each)} of {len(self.images)} images"
                )
        return self
