"""witness: where the values of a document stand on its pages, as local OCR has read them."""
