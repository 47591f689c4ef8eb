"""The laws of the books, and that the whole house keeps them."""
