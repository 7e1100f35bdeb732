"""What equations imply, without simulating them."""
