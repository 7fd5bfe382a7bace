"""web: images at http(s) URLs, fetched from public addresses within limits of size and time."""
