"""report: what people look at while a run goes and when it has ended; numbers in, text out."""
