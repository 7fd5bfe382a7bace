"""ocr: the words of a picture, read with RapidOCR."""
