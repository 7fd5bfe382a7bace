"""call: an order in, the server's reply and its verdict out; every HTTP attempt is noted in the journal."""
