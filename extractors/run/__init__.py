"""run: one run from start to publish; the only room that composes the stages."""
