"""images: image files opened safely, with Pillow and PDFium."""
