"""Hard rows found, and pairs made of them."""
