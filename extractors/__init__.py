"""The engine of tilewise: the stages from an image to a validated row, and what composes them."""
