"""plan: which documents are processed, at which size, and what that costs."""
