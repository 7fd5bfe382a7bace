"""call: sends a request and returns the reply with its verdict; records every HTTP attempt in the journal."""
