"""Sales: what is sold, what is known of its payment, and what that makes of the books. Pure, and nobody's shapes."""
