"""Commands that read and show, a module for each group; `flows/cli.py` registers them."""
