"""Finders: each knows one kind of thing that documents say, and finds it among the words."""
