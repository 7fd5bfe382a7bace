"""Commands that read, show and delete, a module for each group; `flows/cli.py` registers them."""
