"""What `scripts/release` is made of: one module for each kind of package, and what they share. Only Python's own library is used."""
