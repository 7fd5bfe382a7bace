"""web: fetch images from http(s) URLs at public addresses, with limits on size and time."""
