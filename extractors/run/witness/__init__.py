"""witness: looks for the values of accepted documents on their pages, with OCR in processes of its own, beside the calls."""
