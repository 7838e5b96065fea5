"""Model routes: public names, ordered targets, and a stream that survives the failures of any of them."""
